/**
 * RTMP: publishers and players at the edge. A connection comes in, says what it wants, and is led to the origin that
 * the balancer picks; the same dialogue is held there, and the two are joined.
 */
export { RtmpService } from './rtmp-service.ts'
