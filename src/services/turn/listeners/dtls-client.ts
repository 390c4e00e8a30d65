import type { Clock, Timer } from '../../../foundation/clock.ts'
import type { Client } from '../core/client.ts'
import type { ListenerState } from '../core/listener-state.ts'
import type { TurnCore } from '../core/turn-core.ts'
import type { TurnLimits } from '../options.ts'
import type { Established } from './dtls-handshake.ts'
import { HandshakeType } from './dtls-handshake-message.ts'
import type { RecordCipher } from './dtls-record-cipher.ts'
import { ContentType, type DtlsRecord, writeRecord } from './dtls-record.ts'

export interface DtlsClientOptions {
  readonly state: ListenerState
  readonly core: Pick<TurnCore, 'receive' | 'disconnected' | 'allocationOf' | 'isServed'>
  readonly limits: () => TurnLimits
  readonly clock: Clock
  readonly address: string
  readonly port: number
  readonly key: string
  readonly send: (datagram: Uint8Array) => boolean
  /** Called once. */
  readonly onEnd: () => void
}

/** A client by DTLS whose handshake is complete. It stays as long as it has an allocation, or asks for one in time. */
export class DtlsClient implements Client {
  readonly listener: ListenerState
  readonly transport = 'dtls'
  readonly isStream = false
  readonly address: string
  readonly port: number
  readonly key: string
  readonly #options: DtlsClientOptions
  readonly #cipher: RecordCipher
  /** The server's, until it is known that the client has it. */
  #finished: Uint8Array | undefined
  #nextPlainSequence: number
  #idle: Timer | undefined
  #isEnded = false

  constructor({ cipher, finished, nextPlainSequence }: Established, options: DtlsClientOptions) {
    this.listener = options.state
    this.address = options.address
    this.port = options.port
    this.key = options.key
    this.#options = options
    this.#cipher = cipher
    this.#finished = finished
    this.#nextPlainSequence = nextPlainSequence
    this.#watchIdle()
  }

  /** One record of the client; what is not its own is passed over. */
  receive(record: DtlsRecord): void {
    if (this.#isEnded) return
    const plaintext = this.#cipher.open(record)
    if (plaintext === undefined) return
    switch (record.type) {
      case ContentType.applicationData:
        this.#finished = undefined
        if (plaintext.length > 0)
          this.#options.core.receive(plaintext, this, this.#options.core.allocationOf(this.key))
        break
      case ContentType.handshake:
        // Any other message begins a renegotiation, which there is not.
        if (plaintext[0] === HandshakeType.finished) this.#repeatFinished()
        break
      case ContentType.alert:
        if (plaintext[0] === alertLevelFatal || plaintext[1] === closeNotify) this.disconnect()
        break
    }
  }

  send(bytes: Uint8Array): boolean {
    if (this.#isEnded) return false
    const record = this.#cipher.seal(ContentType.applicationData, bytes)
    return record !== undefined && this.#options.send(record)
  }

  isGone(): boolean {
    return this.#isEnded
  }

  disconnect(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#idle?.cancel()
    const alert = this.#cipher.seal(ContentType.alert, Uint8Array.of(alertLevelWarning, closeNotify))
    if (alert !== undefined) this.#options.send(alert)
    this.#options.onEnd()
    this.#options.core.disconnected(this)
  }

  /** The client has not got the end of the handshake (RFC 6347 §4.2.4). */
  #repeatFinished(): void {
    const { send } = this.#options
    const finished = this.#finished && this.#cipher.seal(ContentType.handshake, this.#finished)
    if (finished === undefined) return
    const sequence = this.#nextPlainSequence++
    send(writeRecord({ type: ContentType.changeCipherSpec, epoch: 0, sequence, body: Uint8Array.of(1) }))
    send(finished)
  }

  /** Who has no allocation and asks for none must not hold memory. */
  #watchIdle(): void {
    const { clock, limits, core } = this.#options
    this.#idle = clock.after(limits().idleSeconds * 1000, () => {
      if (core.isServed(this.key)) this.#watchIdle()
      else this.disconnect()
    })
  }
}

const alertLevelWarning = 1
const alertLevelFatal = 2
const closeNotify = 0
