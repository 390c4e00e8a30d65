/** The origins' own HTTP APIs, for operators, behind the gateway's. */
export type { OriginApiErrorCode } from './errors.ts'
export { OriginApi, type OriginApiOptions } from './origin-api.ts'
