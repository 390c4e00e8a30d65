import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { SluiceError } from '../foundation/errors.ts'
import { type AdminOptions, AdminClient, failure } from './status-client.ts'

export interface DrainCommandOptions extends AdminOptions {
  /** How many seconds to wait until nothing is left, as text; `true`: an hour. */
  readonly wait?: string | true
  /** Takes the drain back. */
  readonly undo?: boolean
  /** The gateway ends when nothing is left. */
  readonly exit?: boolean
}

/** How time passes, so that tests need not wait. */
export interface DrainPace {
  nowMs(): number
  pause(ms: number): Promise<void>
}

const REAL_PACE: DrainPace = { nowMs: () => performance.now(), pause: (ms) => delay(ms) }
const DEFAULT_WAIT_SECONDS = 3600
/** How often it asks. */
const ASK_MS = 1000
/** How often it says how far it is. */
const SAY_MS = 5000

/**
 * `sluice drain`: takes a gateway out of rotation, and with `--wait` tells how much is left until nothing is: exit code 0,
 * or 1 when the time is over before. `--exit`: the gateway then ends by itself. `--undo` takes it all back.
 *
 * @throws ADMIN_BAD_WAIT, ADMIN_DRAIN_UNDONE, and what `AdminClient` throws
 */
export async function drain(options: DrainCommandOptions, pace: DrainPace = REAL_PACE): Promise<void> {
  const { wait, undo = false, exit = false } = options
  if (undo && (wait !== undefined || exit)) {
    throw failure('ADMIN_BAD_WAIT', '--undo goes with neither --wait nor --exit')
  }
  const waitMs = wait === undefined ? undefined : waitOf(wait) * 1000
  const client = await AdminClient.open(options)
  if (undo) {
    await client.ask('POST', '/api/v1/undrain', drainSchema)
    say(`${client.place} drains no more`)
    return
  }
  const state = await client.ask('POST', '/api/v1/drain', drainSchema, { exit })
  say(`${client.place} drains: ${leftText(state)}${exit ? '; it ends when nothing is left' : ''}`)
  if (waitMs === undefined) return
  if (!(await emptied(client, waitMs, exit, pace))) process.exitCode = 1
}

/** False when the time is over before. */
async function emptied(
  client: AdminClient,
  waitMs: number,
  isToEnd: boolean,
  pace: DrainPace,
): Promise<boolean> {
  const untilMs = pace.nowMs() + waitMs
  let saidMs = pace.nowMs()
  for (;;) {
    const state = await stateOf(client, isToEnd)
    if (state === 'ended') {
      say(`${client.place} has ended`)
      return true
    }
    if (!state.draining)
      throw failure('ADMIN_DRAIN_UNDONE', `${client.place} drains no more, somebody took that back`)
    // One that is to end is waited for until it has.
    if (countLeft(state) === 0 && !isToEnd) {
      say(`${client.place}: nothing is left`)
      return true
    }
    if (pace.nowMs() >= untilMs) {
      say(`${client.place}: ${leftText(state)}, and the time is over`)
      return false
    }
    if (pace.nowMs() - saidMs >= SAY_MS) {
      saidMs = pace.nowMs()
      say(`${client.place}: ${leftText(state)}`)
    }
    await pace.pause(Math.min(ASK_MS, Math.max(1, untilMs - pace.nowMs())))
  }
}

async function stateOf(client: AdminClient, isToEnd: boolean): Promise<DrainAnswer | 'ended'> {
  try {
    return await client.ask('GET', '/api/v1/drain', drainSchema)
  } catch (error) {
    if (isToEnd && error instanceof SluiceError && error.code === 'ADMIN_UNREACHABLE') return 'ended'
    throw error
  }
}

const count = z.number().min(0)
const drainSchema = z.object({
  draining: z.boolean(),
  left: z.object({ sessions: count, allocations: count, tunnelClients: count }),
})

type DrainAnswer = z.output<typeof drainSchema>

function countLeft({ left: { sessions, allocations, tunnelClients } }: DrainAnswer): number {
  return sessions + allocations + tunnelClients
}

function leftText({ left: { sessions, allocations, tunnelClients } }: DrainAnswer): string {
  const parts = [
    [sessions, 'session', 'sessions'],
    [allocations, 'TURN allocation', 'TURN allocations'],
    [tunnelClients, 'tunnel client', 'tunnel clients'],
  ] as const
  const left = parts.flatMap(([number, one, many]) =>
    number > 0 ? [`${number} ${number === 1 ? one : many}`] : [],
  )
  return left.length === 0 ? 'nothing is left' : `${left.join(', ')} left`
}

function waitOf(wait: string | true): number {
  if (wait === true) return DEFAULT_WAIT_SECONDS
  if (/^\d{1,7}$/.test(wait)) return Number(wait)
  throw failure('ADMIN_BAD_WAIT', `--wait is "${wait}", not whole seconds`)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
