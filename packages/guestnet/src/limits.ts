/** Every bound and default of the package, with its unit and its reason. */

/** The page that shows a network hears of changes this often, `ms`: what a person can follow. */
export const INSPECT_TICK_MS = 1000
/** While rows wait to be sent, it hears again after this long, `ms`: nine thousand flows are there within seconds. */
export const INSPECT_CATCH_UP_MS = 200
/** Rows in one message to a page: some 500 KB, which a browser takes without a stall. The others wait for the next one. */
export const INSPECT_ROWS = 2000
/** Pages that are shown the same network at once. */
export const INSPECT_PAGES = 8
/** Proxy decisions that are remembered. */
export const INSPECT_DECISIONS = 256
/** The token in the page's address, `bytes`: nobody guesses 128 bits. */
export const INSPECT_TOKEN_BYTES = 16
