import { timingSafeEqual } from 'node:crypto'
import type * as Werift from 'werift'
import type { DtlsCertificate } from './dtls-certificate.ts'
import type { ClientHello } from './dtls-client-hello.ts'
import { clientVerifyData, verifyDataBytes } from './dtls-finished.ts'
import {
  type HandshakeMessage,
  HandshakeType,
  handshakeHeaderBytes,
  readHandshakeMessages,
  writeHandshakeMessage,
} from './dtls-handshake-message.ts'
import { RecordCipher, type RecordKey } from './dtls-record-cipher.ts'
import { ContentType, type DtlsRecord, readRecords, recordHeaderBytes, writeRecord } from './dtls-record.ts'

/** What the package `werift` exports. */
export type WeriftModule = Pick<typeof Werift, 'DtlsServer'>

export interface DtlsHandshakeOptions {
  readonly werift: WeriftModule
  readonly certificate: DtlsCertificate
  readonly send: (datagram: Uint8Array) => void
  readonly onDone: (established: Established) => void
  /** Nothing more is sent then. */
  readonly onFailed: (error: unknown) => void
}

/** What is left of a handshake. */
export interface Established {
  readonly cipher: RecordCipher
  /** The server's Finished, to be said again when the client has not got it. */
  readonly finished: Uint8Array
  /** Of the next record that is not encrypted. */
  readonly nextPlainSequence: number
}

/**
 * One handshake of a client that has brought a good cookie, done by werift's server: DTLS 1.2 with ECDHE and AES-128-GCM.
 * Werift gets only whole messages, each where it belongs; its own cookie is passed over, and what it leaves out, the check of
 * the client's Finished, is done here.
 */
export class DtlsHandshake {
  readonly #options: DtlsHandshakeOptions
  readonly #server: Werift.DtlsServer
  readonly #transport: Transport
  readonly #hello: Buffer
  /** What is awaited: of werift its cookie and its hello, of the client its key and its Finished, of werift the end. */
  #stage: 'cookie' | 'hello' | 'key' | 'finished' | 'end' | 'over' = 'cookie'
  #cipher: RecordCipher | undefined
  /** Beyond all that werift has used. */
  #nextSequence = 0
  #finished: Buffer | undefined

  /**
   * @param message the hello as it was received; both are copied
   * @throws what werift throws
   */
  constructor(hello: ClientHello, message: HandshakeMessage, options: DtlsHandshakeOptions) {
    this.#options = options
    this.#hello = Buffer.from(message.bytes)
    this.#transport = {
      type: 'udp',
      address: { address: '', port: 0, family: 'IPv4' },
      closed: false,
      onData: () => {},
      // It must never reject: werift does not always look.
      send: (bytes) => {
        this.#onSent(bytes)
        return Promise.resolve()
      },
      close: () => Promise.resolve(),
    }
    this.#server = new options.werift.DtlsServer({
      transport: this.#transport,
      ...options.certificate,
      // Werift answers with the extension even when it was not offered, which clients refuse.
      extendedMasterSecret: hello.hasExtendedMasterSecret,
    })
    this.#server.onError.subscribe((error) => this.#fail(error))
    this.#server.onConnect.subscribe(() => this.#finish())
    this.#server.dtls.cookie = Buffer.from(hello.cookie)
  }

  /** Answers the hello. */
  begin({ cookie, cookieAt }: ClientHello): void {
    // Werift reads most of a hello only when it has no cookie. Its answer, the cookie that it was told, is not sent.
    const body = this.#hello.subarray(handshakeHeaderBytes)
    const withoutCookie = Buffer.concat([
      body.subarray(0, cookieAt),
      Buffer.alloc(1),
      body.subarray(cookieAt + 1 + cookie.length),
    ])
    this.#feed(writeHandshakeMessage(HandshakeType.clientHello, 0, withoutCookie))
    // Without an answer nothing in it suits; werift says so later.
    if (this.#stage === 'hello') this.#feed(this.#hello)
  }

  /** Whether a hello is the one that this began with, repeated. */
  isOf({ bytes }: HandshakeMessage): boolean {
    return this.#hello.equals(bytes)
  }

  /** Takes a record of the client. Never throws. */
  receive(record: DtlsRecord): void {
    if (record.epoch === 1) this.#receiveFinished(record)
    else if (record.type === ContentType.alert) {
      if (record.body[0] === alertLevelFatal) this.#fail(new Error(`the client sent alert ${record.body[1]}`))
    } else if (record.type === ContentType.handshake) {
      for (const message of readHandshakeMessages(record.body) ?? []) this.#receiveMessage(message)
    }
  }

  /** Ends it; nothing more is sent. */
  stop(): void {
    this.#stage = 'over'
    this.#transport.closed = true
    // Werift repeats a flight until it is at the next; this lets it stop when it next wakes.
    this.#server.dtls.flight = lastFlightNumber
  }

  #receiveMessage(message: HandshakeMessage): void {
    if (message.type === HandshakeType.clientHello) {
      if (this.#stage === 'key' && this.isOf(message)) this.#feed(message.bytes)
      return
    }
    if (message.type !== HandshakeType.clientKeyExchange || this.#stage !== 'key') return
    this.#stage = 'finished'
    // Werift sends two records more: ChangeCipherSpec and Finished.
    this.#nextSequence = this.#server.dtls.recordSequenceNumber + 3
    this.#feed(message.bytes)
  }

  #receiveFinished(record: DtlsRecord): void {
    if (record.type !== ContentType.handshake || this.#stage !== 'finished') return
    const keys = this.#keys()
    if (keys === undefined) return
    this.#cipher ??= new RecordCipher({ ...keys, nextSequence: this.#nextSequence })
    const [message] = readHandshakeMessages(this.#cipher.open(record) ?? nothing) ?? []
    if (message?.type !== HandshakeType.finished || message.body.length !== verifyDataBytes) return
    const { dtls, cipher } = this.#server
    const messages = Buffer.concat(dtls.sortedHandshakeCache.map((before) => before.serialize()))
    if (!timingSafeEqual(message.body, clientVerifyData(cipher.masterSecret, messages))) {
      this.#fail(new Error('the Finished of the client does not fit the handshake'), alertDecryptError)
      return
    }
    this.#stage = 'end'
    this.#feedRecord(record)
  }

  /** What is in an encrypted record of werift's. */
  #openOwn(bytes: Buffer): Buffer | undefined {
    const keys = this.#keys()
    const [record] = readRecords(bytes)
    if (keys === undefined || record === undefined) return undefined
    return new RecordCipher({ read: keys.write, write: keys.write, nextSequence: 0 }).open(record)
  }

  #keys(): { readonly read: RecordKey; readonly write: RecordKey } | undefined {
    // It is not there when the client's key was none.
    const { clientWriteKey, clientNonce, serverWriteKey, serverNonce } = this.#server.cipher.cipher ?? {}
    if (!clientWriteKey || !clientNonce || !serverWriteKey || !serverNonce) return undefined
    // Copies outside of Node's pool, which a client would hold on to for as long as it stays.
    return {
      read: { key: Uint8Array.from(clientWriteKey), salt: Uint8Array.from(clientNonce.subarray(0, 4)) },
      write: { key: Uint8Array.from(serverWriteKey), salt: Uint8Array.from(serverNonce.subarray(0, 4)) },
    }
  }

  #finish(): void {
    if (this.#stage !== 'end' || this.#cipher === undefined || this.#finished === undefined) return
    this.stop()
    this.#options.onDone({
      cipher: this.#cipher,
      finished: this.#finished,
      nextPlainSequence: this.#nextSequence,
    })
  }

  #fail(error: unknown, alert: number = alertHandshakeFailure): void {
    if (this.#stage === 'over') return
    const body = Uint8Array.of(alertLevelFatal, alert)
    const sequence = this.#server.dtls.recordSequenceNumber + 1
    this.#options.send(writeRecord({ type: ContentType.alert, epoch: 0, sequence, body }))
    this.stop()
    this.#options.onFailed(error)
  }

  #feed(message: Uint8Array): void {
    this.#feedRecord({ type: ContentType.handshake, epoch: 0, sequence: 0, body: message })
  }

  /** Werift keeps views of what it gets, so it gets a copy. */
  #feedRecord(record: DtlsRecord): void {
    try {
      this.#transport.onData(writeRecord(record), ['', 0])
    } catch (error) {
      this.#fail(error)
    }
  }

  #onSent(bytes: Buffer): void {
    switch (this.#stage) {
      case 'cookie':
        this.#stage = 'hello'
        return
      case 'hello':
        this.#stage = 'key'
        break
      case 'key':
        break
      case 'end':
        this.#finished = this.#openOwn(bytes) ?? this.#finished
        break
      case 'finished':
      case 'over':
        // What werift repeats of its flight before is for nobody.
        return
    }
    this.#options.send(
      bytes[recordHeaderBytes] === HandshakeType.serverHello ? this.#anonymous(bytes) : bytes,
    )
  }

  /**
   * A ServerHello whose session has no name. Werift calls each session 0, and a client that names it in its next hello takes
   * the answer for a resumption, which there is not.
   */
  #anonymous(record: Buffer): Buffer {
    const message = record.subarray(recordHeaderBytes)
    const body = message.subarray(handshakeHeaderBytes)
    if (body[sessionIdAt] !== 1) return record
    const renamed = Buffer.concat([
      body.subarray(0, sessionIdAt),
      Buffer.alloc(1),
      body.subarray(sessionIdAt + 2),
    ])
    const inTranscript = this.#server.dtls.sortedHandshakeCache.find(
      ({ msg_type }) => msg_type === HandshakeType.serverHello,
    )
    if (inTranscript !== undefined) {
      inTranscript.fragment = renamed
      inTranscript.length = renamed.length
      inTranscript.fragment_length = renamed.length
    }
    const [header] = readRecords(record)
    if (header === undefined) return record
    return writeRecord({
      ...header,
      body: writeHandshakeMessage(HandshakeType.serverHello, message.readUInt16BE(4), renamed),
    })
  }
}

type Transport = ConstructorParameters<WeriftModule['DtlsServer']>[0]['transport']

/** Of werift's flights the one with the server's Finished. */
const lastFlightNumber = 6
const alertLevelFatal = 2
const alertHandshakeFailure = 40
const alertDecryptError = 51
/** In the body of a ServerHello: after version and random. */
const sessionIdAt = 34
const nothing = new Uint8Array(0)
