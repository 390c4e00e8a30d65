import { randomBytes } from 'node:crypto'
import type { Clock, Timer } from '../../foundation/clock.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'
import { TurnClient, type TurnClientOptions, type TurnClientOutput } from '../../protocols/turn/index.ts'
import { TurncatError, TurncatErrorCode } from './errors.ts'
import type { Link, LinkOptions } from './link.ts'
import { openLink, reasonOf, unreachable } from './open-link.ts'

/** Everything that a client tells of, but what is to be sent. */
export type ControlEvent = Exclude<TurnClientOutput, { readonly kind: 'send' | 'broken' }>

/** How a control link is set up. */
export interface ControlLinkOptions {
  readonly link: Omit<LinkOptions, 'signal'>
  readonly client: Omit<TurnClientOptions, 'isStream' | 'random'>
  readonly clock: Clock
  readonly logger: Logger
}

/** What a control link tells. */
export interface ControlLinkHandlers {
  readonly onEvent: (event: ControlEvent) => void
  readonly onDrain: () => void
  /** It is closed, though nobody asked for that. */
  readonly onEnd: (error: TurncatError) => void
}

/** A TURN client on a link of its own: bytes and time go in, its events come out. */
export class ControlLink {
  readonly #options: ControlLinkOptions
  readonly #handlers: ControlLinkHandlers
  readonly #opening = new AbortController()
  #link: Link | undefined
  #client: TurnClient | undefined
  #timer: Timer | undefined
  #isClosed = false
  #isWritable = true
  #hasHeard = false
  #isReleasing = false
  #onReleased: () => void = () => undefined
  /** Takes the stream's bytes once the client has no more use for them. */
  #onRaw: ((bytes: Uint8Array) => void) | undefined

  constructor(options: ControlLinkOptions, handlers: ControlLinkHandlers) {
    this.#options = options
    this.#handlers = handlers
  }

  /** Opens the link, then lets `begin` make the first request of a client of its own, or of the one given. */
  open(begin: (client: TurnClient, nowMs: number) => void, client?: TurnClient): void {
    this.#client = client
    // What `openLink` throws is one of ours.
    this.#open(begin).catch((error: unknown) => this.#fail(error as TurncatError))
  }

  /** A client for another link that carries a peer's connection. */
  clientForConnection(): TurnClient | undefined {
    return this.#client?.forConnection()
  }

  get isOpen(): boolean {
    return this.#link !== undefined && !this.#isClosed
  }

  /** Lets the client do something; nothing once the link is closed. False when there is enough in the way. */
  act(what: (client: TurnClient, nowMs: number) => void): boolean {
    if (this.#client === undefined || this.#isClosed) return true
    what(this.#client, this.#options.clock.nowMs())
    this.#drain()
    return this.#isWritable
  }

  /** Bytes on their way to the server that the system has not taken yet. */
  get queuedBytes(): number {
    return this.#link?.queuedBytes ?? 0
  }

  /** From now on the stream is nobody's but the caller's. */
  takeOver(onRaw: (bytes: Uint8Array) => void): Link | undefined {
    this.#onRaw = onRaw
    return this.#link
  }

  /** Gives the allocation back, then closes; resolves when the server has said so, or has not for a second. Tells no more. */
  async release(): Promise<void> {
    this.#isReleasing = true
    if (this.isOpen) {
      await new Promise<void>((resolve) => {
        const late = this.#options.clock.after(releaseTimeoutMs, resolve)
        this.#onReleased = () => {
          late.cancel()
          resolve()
        }
        this.act((client, nowMs) => client.release(nowMs))
      })
    }
    this.close()
  }

  /** Waits for nothing. */
  close(): void {
    this.#isClosed = true
    this.#opening.abort()
    this.#timer?.cancel()
    this.#link?.close()
  }

  async #open(begin: (client: TurnClient, nowMs: number) => void): Promise<void> {
    const { link, client } = this.#options
    const opened = await openLink(
      { ...link, signal: this.#opening.signal },
      {
        onBytes: (bytes) => {
          this.#hasHeard = true
          if (this.#onRaw === undefined) this.act((client, nowMs) => client.receive(bytes, nowMs))
          else this.#onRaw(bytes)
        },
        onDrain: () => {
          this.#isWritable = true
          if (!this.#isReleasing) this.#handlers.onDrain()
        },
        onEnd: (cause) => this.#fail(this.#lost(cause)),
      },
    )
    if (this.#isClosed) {
      opened.close()
      return
    }
    this.#link = opened
    this.#client ??= new TurnClient({ ...client, isStream: opened.isStream, random: randomBytes })
    this.act(begin)
  }

  #drain(): void {
    const client = this.#client
    if (client === undefined) return
    for (let out = client.poll(); out !== undefined && !this.#isClosed; out = client.poll()) {
      if (out.kind === 'send') this.#isWritable = this.#link?.send(out.bytes) ?? true
      else if (out.kind === 'broken') {
        this.#fail(new TurncatError(TurncatErrorCode.serverLost, 'what the server sends is no TURN'))
      } else if (!this.#isReleasing) this.#handlers.onEvent(out)
      else if (out.kind === 'released' || out.kind === 'failed') this.#onReleased()
    }
    this.#timer?.cancel()
    const deadlineMs = client.nextDeadlineMs()
    if (deadlineMs === undefined || this.#isClosed) return
    const { clock } = this.#options
    this.#timer = clock.after(Math.max(0, deadlineMs - clock.nowMs()), () =>
      this.act((client, nowMs) => client.tick(nowMs)),
    )
  }

  #lost(cause: Error | undefined): TurncatError {
    const why = cause === undefined ? 'closed by the server' : reasonOf(cause)
    return this.#hasHeard
      ? new TurncatError(TurncatErrorCode.serverLost, `the connection to the server broke: ${why}`, cause)
      : unreachable(this.#options.link.server, why, cause)
  }

  #fail(error: TurncatError): void {
    if (this.#isClosed) return
    this.close()
    if (this.#isReleasing) this.#onReleased()
    else this.#handlers.onEnd(error)
  }
}

/** How long a server may take to answer that an allocation is gone; over UDP it is asked twice. */
const releaseTimeoutMs = 1000

/** An error for a request that failed. */
export function refusalOf(event: Extract<ControlEvent, { readonly kind: 'failed' }>): TurncatError {
  const { operation, code, reason, alternateServer } = event
  if (code === 'timeout') {
    return new TurncatError(
      operation === 'allocate' ? TurncatErrorCode.serverUnreachable : TurncatErrorCode.serverLost,
      `the server does not answer (${operation})`,
    )
  }
  const why = (typeof code === 'number' ? `error ${code}` : localReasons[code]) + printable(reason)
  const hint = code === 401 ? '; user or password is wrong, or has expired' : ''
  const elsewhere = alternateServer
    ? `; it names ${alternateServer.address}:${alternateServer.port} instead`
    : ''
  return new TurncatError(TurncatErrorCode.serverRefused, `${operation} failed: ${why}${hint}${elsewhere}`)
}

/** A server's text, behind a space, without what a terminal would act on; coturn pads it with zeros. */
function printable(reason: string): string {
  const text = reason.replaceAll(/\p{C}+/gu, ' ').trim()
  return text && ` ${text}`
}

const localReasons = {
  integrity: 'the answer is not signed with this password',
  challenge: 'the challenge cannot be answered',
  malformed: 'the answer lacks an attribute',
} as const
