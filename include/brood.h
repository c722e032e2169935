/**
 * @file brood.h
 * brood: child processes for C, as Node.js has them, and truly owned. This header is all of it; include/brood/ has
 * one header for each room.
 */
#ifndef BROOD_H
#define BROOD_H

#include <brood/base.h>
#include <brood/channel.h>
#include <brood/child.h>
#include <brood/loop.h>
#include <brood/own.h>
#include <brood/pool.h>
#include <brood/process.h>
#include <brood/stream.h>
#include <brood/value.h>

#endif
