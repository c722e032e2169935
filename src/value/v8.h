/* V8's structured clone, version 13 to 15, with the host objects of Node's channel: reading. */
#ifndef BROOD_VALUE_V8_H
#define BROOD_VALUE_V8_H

#include "value/document.h"

/*
 * Read a payload (`FF 0F`, one value; what follows it is ignored, as V8 does) into an empty document. The payload is
 * changed and keeps what the document's strings and bytes point to.
 *
 * Returns 0, -EBADMSG (at *ret_at is what cannot be), -E2BIG (deeper than that, or more nodes than the document may
 * have), or -ENOMEM.
 */
int brood__v8_read(brood__document *document, char *payload, size_t len, uint32_t max_depth, size_t *ret_at);

#endif
