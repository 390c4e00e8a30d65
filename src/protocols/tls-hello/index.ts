/**
 * The first message of a TLS connection, read without taking part in it: which server the client asks for (SNI), and
 * which protocols it offers (ALPN), so that a connection can be led on with its bytes untouched.
 *
 * @module
 */
export { type ClientHelloProgress, readClientHello } from './client-hello.ts'
export { readServerName, type ServerNameProgress, UNRECOGNIZED_NAME_ALERT } from './server-name.ts'
