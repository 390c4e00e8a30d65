import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock } from '../../../foundation/clock.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { FrpcCommonConfig } from '../../../mechanisms/frp-config/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import {
  encodeMessage,
  type FrpMessage,
  type MessageBodies,
  type MessageName,
  type NewProxy,
  type NewProxyResp,
  type StartWorkConn,
  type UdpPacketCodec,
  V2_MAGIC,
  type WireVersion,
} from '../../../protocols/frp/index.ts'
import type { ClientAuth } from '../auth/contract.ts'
import { TunnelError, TunnelErrorCode } from '../errors.ts'
import { MessageChannel } from '../message-channel.ts'
import type { ServerLink } from '../transport/contract.ts'
import { Heartbeat } from './heartbeat.ts'
import type { LoggedIn } from './login.ts'
import { QuietLog } from './quiet-log.ts'
import { WorkConnections } from './work-connections.ts'

export interface ControlSessionParts {
  readonly config: Omit<FrpcCommonConfig, 'log'>
  readonly auth: ClientAuth
  readonly clock: Clock
  /** Carries the run id. */
  readonly log: Logger
  /** A work connection has been given to a proxy, whose name is as in messages; the stream is paused. */
  readonly onWork: (work: ByteStream, start: StartWorkConn) => void
  /** The session is over: lost, or closed. Called once. */
  readonly onEnd: (error: Error | undefined) => void
}

/** Answers to registrations of one name that may be outstanding; the server gives them in order. */
const maxAwaited = 16
/** How long the server has to close what was ended in order. */
const closeMs = 1000

type Registration = Partial<NewProxy> & { readonly proxy_name: string }

/** One login's life: messages of the control connection, heartbeats, work connections, until the first of them fails. */
export class ControlSession {
  readonly log: Logger
  readonly #login: LoggedIn
  readonly #link: ServerLink
  readonly #parts: ControlSessionParts
  readonly #heartbeat: Heartbeat
  readonly #work: WorkConnections
  readonly #awaited = new Map<string, ((answer: NewProxyResp) => void)[]>()
  /** What is to be sent once the server has read what was. */
  #outbox: (() => boolean)[] = []
  #isFull = false
  readonly #overCallbacks = new Set<() => void>()
  #isOver = false

  constructor(login: LoggedIn, link: ServerLink, parts: ControlSessionParts) {
    this.#login = login
    this.#link = link
    this.#parts = parts
    this.log = parts.log
    const { clock, log } = parts
    this.#heartbeat = new Heartbeat({
      intervalSeconds: parts.config.transport.heartbeatInterval,
      timeoutSeconds: parts.config.transport.heartbeatTimeout,
      clock,
      onBeat: () => void this.#ping(),
      onTimeout: () => {
        log.warn('heartbeat timeout')
        this.#end(failure(TunnelErrorCode.timeout, 'the server did not answer heartbeats'))
      },
    })
    this.#work = new WorkConnections({
      open: async () => this.open('NewWorkConn', { run_id: this.runId, ...(await parts.auth.newWorkConn()) }),
      onStart: parts.onWork,
      log: new QuietLog(clock, (fields, message) => log.debug(fields, message)),
    })
  }

  get runId(): string {
    return this.#login.runId
  }

  get halfClose(): boolean {
    return this.#login.halfClose
  }

  get udpPacketCodec(): UdpPacketCodec {
    return this.#login.udpPacketCodec
  }

  get wireVersion(): WireVersion {
    return this.#login.channel.version
  }

  get isOver(): boolean {
    return this.#isOver
  }

  begin(): void {
    const { channel } = this.#login
    channel.onMessage = (message) => this.#receive(message)
    channel.onClose = (error) => this.#end(error)
    channel.onDrain = () => {
      this.#isFull = false
      this.#sendNext()
    }
    this.#link.onClose((error) => this.#end(error))
    if (channel.isOver) {
      this.#end(undefined)
      return
    }
    this.#heartbeat.start()
    channel.resume()
  }

  /** Registers a proxy; `onAnswer` is given the server's answer, if one comes. */
  registerProxy(message: Registration, onAnswer: (answer: NewProxyResp) => void): void {
    this.#send(() => this.#register(message, onAnswer))
  }

  closeProxy(name: string): void {
    this.#send(() => this.#login.channel.send('CloseProxy', { proxy_name: name }))
  }

  /**
   * A new connection to the server that begins with this message; its channel is paused.
   * @throws TunnelError TUNNEL_UNREACHABLE, TUNNEL_TIMEOUT, TUNNEL_CLOSED
   */
  async open<Name extends MessageName>(
    name: Name,
    body: Partial<MessageBodies[Name]>,
  ): Promise<MessageChannel> {
    const stream = await this.#link.open()
    if (this.#isOver) {
      stream.destroy()
      throw failure(TunnelErrorCode.closed, 'the session with the server is over')
    }
    const { wireVersion } = this
    const channel = new MessageChannel(stream, wireVersion, { udpPacketCodec: this.udpPacketCodec })
    // In one piece with the magic: one frame, one record, one packet.
    if (wireVersion === 'v1') channel.send(name, body)
    else channel.sendRaw(Buffer.concat([V2_MAGIC, encodeMessage(wireVersion, name, body)]))
    return channel
  }

  /** Calls once when the session is over, unless the function that is returned was called before. */
  onOver(callback: () => void): () => void {
    this.#overCallbacks.add(callback)
    return () => this.#overCallbacks.delete(callback)
  }

  /** Takes no more work connections. */
  stopWork(): void {
    this.#work.close()
  }

  /** Ends the session in order: what was sent goes out first, within a second. */
  close(): Promise<void> {
    if (this.#isOver) return Promise.resolve()
    this.#heartbeat.stop()
    this.#work.close()
    this.#login.channel.end()
    return new Promise((resolve) => {
      const timer = this.#parts.clock.after(closeMs, () => this.#end(undefined))
      this.onOver(() => {
        timer.cancel()
        resolve()
      })
    })
  }

  #send(message: () => boolean): void {
    if (this.#isOver) return
    this.#outbox.push(message)
    this.#sendNext()
  }

  #sendNext(): void {
    while (!this.#isFull) {
      const message = this.#outbox.shift()
      if (message === undefined) return
      this.#isFull = !message()
    }
  }

  #register(message: Registration, onAnswer: (answer: NewProxyResp) => void): boolean {
    const { proxy_name } = message
    const awaited = this.#awaited.get(proxy_name) ?? []
    if (awaited.length >= maxAwaited) return true
    try {
      const isTaken = this.#login.channel.send('NewProxy', message)
      awaited.push(onAnswer)
      this.#awaited.set(proxy_name, awaited)
      return isTaken
    } catch (error) {
      // It does not fit a message. Told later, as an answer would be.
      const answer = { proxy_name, remote_addr: '', error: errorMessage(error) }
      queueMicrotask(() => onAnswer(answer))
      return true
    }
  }

  #receive(message: FrpMessage): void {
    if (message.name === 'ReqWorkConn') this.#work.request()
    else if (message.name === 'NewProxyResp') this.#answered(message.body)
    else if (message.name === 'Pong') this.#pong(message.body.error)
    // As frp does; a newer server may say more.
    else this.log.debug({ message: message.name }, 'unexpected message on the control connection')
  }

  #answered(answer: NewProxyResp): void {
    const awaited = this.#awaited.get(answer.proxy_name)
    const onAnswer = awaited?.shift()
    if (awaited?.length === 0) this.#awaited.delete(answer.proxy_name)
    onAnswer?.(answer)
  }

  #pong(error: string): void {
    if (error !== '') {
      this.log.error({ error }, 'pong message contains error')
      this.#end(failure(TunnelErrorCode.unauthorized, error))
      return
    }
    this.log.debug('receive heartbeat from server')
    this.#heartbeat.heard()
  }

  /** Never rejects. */
  async #ping(): Promise<void> {
    this.log.debug('send heartbeat to server')
    try {
      const proof = await this.#parts.auth.ping()
      if (!this.#isOver) this.#login.channel.send('Ping', proof)
    } catch (error) {
      this.log.warn(
        { error: errorMessage(error) },
        'error during ping authentication, skip sending ping message',
      )
    }
  }

  #end(error: Error | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#heartbeat.stop()
    this.#work.close()
    this.#awaited.clear()
    const { channel } = this.#login
    channel.onMessage = ignore
    channel.onClose = ignore
    channel.onDrain = ignore
    channel.destroy()
    this.#outbox = []
    this.#link.close(error)
    for (const callback of this.#overCallbacks) callback()
    this.#overCallbacks.clear()
    this.#parts.onEnd(error)
  }
}

function failure(code: TunnelErrorCode, message: string): TunnelError {
  return new TunnelError(code, message, { side: 'origin', retryable: true })
}

function ignore(): void {}
