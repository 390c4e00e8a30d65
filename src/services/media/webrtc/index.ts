/**
 * WebRTC: WHIP and WHEP requests are taken to the origin that the balancer picks, and the media between that origin
 * and the client is led through the datapath. Stands between the HTTP listener, the balancer and the datapath.
 *
 * @module
 */
export { WebRtcService } from './service.ts'
