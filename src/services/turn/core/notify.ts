import { errorCode } from '../../../foundation/errors.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { TurnEvents } from '../events.ts'

/** Tells of an event whoever wants to know. What a callback throws is its own bug: it is logged, and ends nothing. */
export type Notify = (event: keyof TurnEvents, call: (events: TurnEvents) => void) => void

/** @param events those in force at the time */
export function notifier(events: () => TurnEvents, log: Logger): Notify {
  return (event, call) => {
    const wanted = events()
    if (wanted[event] === undefined) return
    try {
      call(wanted)
    } catch (error) {
      log.error({ event, code: errorCode(error), err: error }, 'an event callback has thrown')
    }
  }
}
