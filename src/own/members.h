/* Who of all that is owned is alive, and what it uses. */
#ifndef BROOD_OWN_MEMBERS_H
#define BROOD_OWN_MEMBERS_H

#include "own/owned.h"

/* As brood_child_members; `size`: that of the caller's brood_member. */
int brood__owned_members(brood__owned *o, brood_member *ret_members, size_t room, size_t size);

#endif
