import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { errorMessage } from '../../../foundation/errors.ts'

/** An engine of the addon. */
export type EngineHandle = number

/** A joiner of the addon. */
export type JoinerHandle = number

/** Numbers of an event of a join: its id, the side (0 or 1), and 0 for the end of the side or a negative errno. */
export const joinEventNumbers = 3

/**
 * What `native/src/binding/exports.rs` and `joins.rs` export. Bytes are as in `addon-records.ts`. Calls with what is not there, or with
 * records that are none, throw an Error with the code DATAPATH_NATIVE.
 */
export interface Addon {
  /** `ring` is called in a later turn when there is something to take; it keeps no process running. */
  open(options: Float64Array, ring: () => void): EngineHandle
  /** Stops the threads; all sockets are closed when it returns. */
  close(engine: EngineHandle): void
  /** 0, or a negative errno. */
  addThread(engine: EngineHandle): number
  addEndpoint(engine: EngineHandle, endpoint: Uint8Array): void
  removeEndpoint(engine: EngineHandle, endpoint: number): void
  /** Bytes of the receive buffer, or a negative errno. `bound` gets the packed address. */
  bind(engine: EngineHandle, localAddress: Uint8Array, bound: Uint8Array): number
  unbind(engine: EngineHandle, endpoint: number, local: number): void
  /** A descriptor, which is the caller's to close, or a negative errno. */
  bindTcp(address: Uint8Array): number
  /** 1, or 0 when another flow has the same source. */
  addFlow(engine: EngineHandle, flow: Uint8Array): number
  aimFlow(engine: EngineHandle, flow: number, target: Uint8Array): number
  pauseFlow(engine: EngineHandle, flow: number, paused: number): number
  removeFlow(engine: EngineHandle, flow: number): void
  /** A negative rate does not limit. */
  addMeter(engine: EngineHandle, meter: number, bytes: number, packets: number, burstSeconds: number): void
  removeMeter(engine: EngineHandle, meter: number): void
  /** 1, or 0 when the meter refuses so many bytes, and charges none. */
  charge(engine: EngineHandle, meter: number, bytes: number): number
  send(engine: EngineHandle, datagrams: Uint8Array, length: number): void
  /** How many bytes of records were put into `room`; negative when more wait. */
  take(engine: EngineHandle, room: Uint8Array): number
  /** Why a thread has died. */
  failure(engine: EngineHandle): string | undefined
  readCounters(engine: EngineHandle, flows: Float64Array, into: Float64Array): void
  /** Gives the number of threads, whose busy nanoseconds follow the totals. */
  readTotals(engine: EngineHandle, into: Float64Array): number
  /** Lets the first thread panic, for tests. */
  crash(engine: EngineHandle): void
  /**
   * Starts a thread for at most so many joins; a negative errno when there is none. `ring` is called in a later turn when there
   * are events; it keeps no process running.
   */
  openJoiner(most: number, ring: () => void): JoinerHandle
  /** Stops the thread; its descriptors are closed when it returns. */
  closeJoiner(joiner: JoinerHandle): void
  /** 0, or a negative errno. The descriptors are duplicated, and stay the caller's. */
  join(
    joiner: JoinerHandle,
    join: number,
    first: number,
    second: number,
    isFirstEnded: number,
    isSecondEnded: number,
  ): number
  removeJoin(joiner: JoinerHandle, join: number): void
  /** How many numbers of events were put into `room`; negative when more wait. */
  takeJoinEvents(joiner: JoinerHandle, room: Float64Array): number
  /** Gives bytes from the first and from the second socket, zeros when there is no such join. */
  readJoin(joiner: JoinerHandle, join: number, into: Float64Array): void
  /** Lets the thread panic, for tests. */
  crashJoiner(joiner: JoinerHandle): void
}

/** The addon, or why there is none. */
export type LoadedAddon = { readonly addon: Addon } | { readonly reason: string }

let loaded: LoadedAddon | undefined

/** Loads the addon that was built when the package was installed, else the one that came with it. */
export function loadAddon(): LoadedAddon {
  loaded ??= load()
  return loaded
}

/** From `src` and from `dist` alike. */
const folder = new URL('../../../../native/', import.meta.url)

function load(): LoadedAddon {
  if (process.platform !== 'linux') return { reason: `it needs Linux, this is ${process.platform}` }
  const files = ['build/sluice.node', `prebuilt/linux-${process.arch}.node`]
    .map((name) => fileURLToPath(new URL(name, folder)))
    .filter(existsSync)
  if (files.length === 0) return { reason: 'it was not built: install cargo, then run npm rebuild' }
  let reason = ''
  for (const file of files) {
    try {
      return { addon: createRequire(import.meta.url)(file) as Addon }
    } catch (error) {
      reason = errorMessage(error)
    }
  }
  return { reason: `it does not load: ${reason}` }
}
