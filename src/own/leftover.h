/* Children of this process that are not waited for any more, and will end some time: none is to stay a zombie. */
#ifndef BROOD_OWN_LEFTOVER_H
#define BROOD_OWN_LEFTOVER_H

/* Take the pidfd of one. */
void brood__leftover_take(int pidfd);

/* Wait for those that have ended. Does not block; any thread. */
void brood__leftover_reap(void);

#endif
