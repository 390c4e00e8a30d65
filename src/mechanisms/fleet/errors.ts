import { SluiceError } from '../../foundation/errors.ts'

/** Codes of the fleet, and what to do about each. */
export type FleetErrorCode =
  /** A gateway's id is 1 to 64 letters, digits, dots, dashes and underscores: give it such a one. */
  | 'FLEET_BAD_ID'
  /** An option is out of range: the message names it. */
  | 'FLEET_BAD_OPTION'

/** An error of the fleet's set-up; while it runs nothing of it throws but what Redis does. */
export function fleetError(code: FleetErrorCode, message: string): SluiceError {
  return new SluiceError(code, message, { side: 'self', retryable: false })
}
