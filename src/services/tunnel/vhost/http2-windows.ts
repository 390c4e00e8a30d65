/** How much a peer may send on one stream of HTTP/2, and on the connection, before it must wait for the reader. */
export const WINDOW_BYTES = 262_144
