/** Registration: origins announce themselves over HTTP; what they say goes to the balancer. */
export type { RegistrationErrorCode } from './errors.ts'
export { RegistrationService, type RegistrationServiceOptions } from './registration-service.ts'
