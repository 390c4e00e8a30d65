/**
 * Who may publish and play, and how much: one decision for every protocol. The rooms of media ask before they pick an
 * origin, and tell when the session is over.
 */
export { AccessControl, type AccessControlOptions } from './access-control.ts'
export type * from './contract.ts'
export type { AccessErrorCode } from './errors.ts'
export { LimitMeters, type MetersInUse } from './limit-meters.ts'
export { openAccess } from './open-access.ts'
