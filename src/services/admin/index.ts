/** What operators reach over HTTP: health, metrics, and the list of origins, streams and sessions. */
export { AdminService, type AdminServiceOptions, type ReadinessCheck } from './admin-service.ts'
export type { AdminErrorCode } from './errors.ts'
