/**
 * The first message of a TLS connection, read without taking part in it: which server the client asks for (SNI), so that
 * a connection can be led on with its bytes untouched.
 *
 * @module
 */
export { readServerName, type ServerNameProgress, UNRECOGNIZED_NAME_ALERT } from './server-name.ts'
