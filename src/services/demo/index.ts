/**
 * The demo origin: a small media server that stands behind the gateway like any other, for `sluice demo` and for tests.
 * It is reached over its sockets and registers over HTTP; only the composition root imports it.
 */
export { DemoOrigin } from './demo-origin.ts'
