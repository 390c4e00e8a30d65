import {
  type Addon,
  joinEventNumbers,
  type JoinerHandle,
  loadAddon,
} from '../datapath/engine-native/addon.ts'
import { systemError } from '../datapath/engine-native/system-error.ts'
import type { TcpJoin, TcpJoiner, TcpJoinListener, TcpSide } from './tcp-joiner.ts'

export interface NativeJoinerOptions {
  /** Joins at a time; each takes two descriptors more, and some of them four. Further ones stay in JavaScript. @defaultValue 4096 */
  readonly mostJoins?: number
}

const defaults = { mostJoins: 4096 } as const
/** Events of one native call. */
const eventsPerTake = 256

/** The joiner of the native engine, or none where there is no engine; whoever makes it closes it. */
export function createNativeJoiner(options: NativeJoinerOptions = {}): NativeJoiner | undefined {
  const loaded = loadAddon()
  return 'addon' in loaded ? new NativeJoiner(loaded.addon, options) : undefined
}

/** Moves bytes between sockets in a thread of its own, which begins with the first join. */
export class NativeJoiner implements TcpJoiner {
  readonly #addon: Addon
  readonly #mostJoins: number
  readonly #events = new Float64Array(eventsPerTake * joinEventNumbers)
  readonly #joins = new Map<number, NativeJoin>()
  #lastId = 0
  #handle: JoinerHandle | undefined
  #isClosed = false

  constructor(addon: Addon, options: NativeJoinerOptions = {}) {
    this.#addon = addon
    this.#mostJoins = options.mostJoins ?? defaults.mostJoins
  }

  /** Joins that are with it. */
  get joinCount(): number {
    return this.#joins.size
  }

  /** Joins that it has ever taken. */
  get joinsTaken(): number {
    return this.#lastId
  }

  join(first: TcpSide, second: TcpSide, listener: TcpJoinListener): TcpJoin | undefined {
    if (this.#isClosed) return undefined
    this.#handle ??= this.#open()
    if (this.#handle === undefined) return undefined
    const id = this.#lastId + 1
    const status = this.#addon.join(
      this.#handle,
      id,
      first.descriptor,
      second.descriptor,
      first.isEnded ? 1 : 0,
      second.isEnded ? 1 : 0,
    )
    if (status !== 0) return undefined
    this.#lastId = id
    const join = new NativeJoin(this.#addon, this.#handle, id, listener, () => this.#joins.delete(id))
    this.#joins.set(id, join)
    return join
  }

  /** Forgets all joins: nothing is moved any more. Their listeners are told that they are broken, in a later turn. */
  close(): void {
    this.#isClosed = true
    const joins = [...this.#joins.values()]
    for (const join of joins) join.destroy()
    if (this.#handle !== undefined) this.#addon.closeJoiner(this.#handle)
    this.#handle = undefined
    queueMicrotask(() => {
      for (const join of joins) join.listener.onTcpBroken('first', new Error('the engine was closed'))
    })
  }

  /** Lets its thread panic, for tests. */
  crash(): void {
    if (this.#handle !== undefined) this.#addon.crashJoiner(this.#handle)
  }

  #open(): JoinerHandle | undefined {
    const handle = this.#addon.openJoiner(this.#mostJoins, () => this.#take())
    return handle < 0 ? undefined : handle
  }

  #take(): void {
    for (;;) {
      if (this.#handle === undefined) return
      const count = this.#addon.takeJoinEvents(this.#handle, this.#events)
      const events = this.#events.slice(0, Math.abs(count))
      for (let at = 0; at < events.length; at += joinEventNumbers) {
        const [id = 0, side = 0, errno = 0] = events.subarray(at, at + joinEventNumbers)
        // It may have been destroyed since.
        this.#joins.get(id)?.tell(side === 0 ? 'first' : 'second', errno)
      }
      if (count >= 0) return
    }
  }
}

class NativeJoin implements TcpJoin {
  readonly listener: TcpJoinListener
  readonly #addon: Addon
  readonly #joiner: JoinerHandle
  readonly #id: number
  readonly #forget: () => void
  readonly #bytes = new Float64Array(2)
  #isOver = false

  constructor(addon: Addon, joiner: JoinerHandle, id: number, listener: TcpJoinListener, forget: () => void) {
    this.#addon = addon
    this.#joiner = joiner
    this.#id = id
    this.listener = listener
    this.#forget = forget
  }

  get bytesFromFirst(): number {
    return this.#read()[0] ?? 0
  }

  get bytesFromSecond(): number {
    return this.#read()[1] ?? 0
  }

  tell(side: 'first' | 'second', errno: number): void {
    if (errno === 0) this.listener.onTcpEnded(side)
    else this.listener.onTcpBroken(side, systemError(errno))
  }

  destroy(): void {
    if (this.#isOver) return
    // What it has counted last stays.
    this.#read()
    this.#isOver = true
    this.#addon.removeJoin(this.#joiner, this.#id)
    this.#forget()
  }

  #read(): Float64Array {
    if (!this.#isOver) this.#addon.readJoin(this.#joiner, this.#id, this.#bytes)
    return this.#bytes
  }
}
