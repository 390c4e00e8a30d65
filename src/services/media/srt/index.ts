/**
 * SRT: callers are told from strangers by a cookie, their stream id leads to an origin, the origin is called in their
 * name, and from then on the datapath moves the packets of the two. Stands between the balancer and the datapath.
 *
 * @module
 */
export type { SrtErrorCode } from './errors.ts'
export type { SrtServiceOptions, SrtStreamRequest } from './options.ts'
export { SrtService } from './service.ts'
