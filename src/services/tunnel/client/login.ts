import { hostname } from 'node:os'
import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock } from '../../../foundation/clock.ts'
import type { FrpcCommonConfig } from '../../../mechanisms/frp-config/index.ts'
import {
  aeadCodec,
  aeadNonceBytes,
  type AeadAlgorithm,
  type ByteCodec,
  cfbCodec,
  cfbKey,
  type ClientHello,
  encodeClientHello,
  helloFrame,
  type Login,
  type LoginResp,
  parseServerHello,
  transcriptHash,
  type UdpPacketCodec,
  V2_MAGIC,
} from '../../../protocols/frp/index.ts'
import type { ClientAuth } from '../auth/contract.ts'
import { TunnelError, TunnelErrorCode } from '../errors.ts'
import { MessageChannel } from '../message-channel.ts'
import { goPlatform } from './go-platform.ts'

export interface LoginParts {
  readonly config: Omit<FrpcCommonConfig, 'log'>
  readonly auth: ClientAuth
  readonly clock: Clock
  readonly random: (length: number) => Uint8Array
  /** What peers show as the version of the client. */
  readonly version: string
}

/** A client that has logged in. */
export interface LoggedIn {
  /** The control connection, secured and paused. */
  readonly channel: MessageChannel
  readonly runId: string
  readonly serverVersion: string
  /** Whether the server keeps one direction of a connection open when the other has ended. */
  readonly halfClose: boolean
  readonly udpPacketCodec: UdpPacketCodec
}

/** How long the server has for its answer, in milliseconds (reference §7.1). */
const answerMs = 10_000
/** In order of preference: what Node's own cryptography does comes first. */
const algorithms: readonly AeadAlgorithm[] = ['aes-256-gcm', 'xchacha20-poly1305']
const udpPacketCodecs: readonly UdpPacketCodec[] = ['binary-v1']

/**
 * Logs in on a new connection to the server. The connection is destroyed when that fails.
 *
 * @param runId the one of the login before; empty at first
 * @throws TunnelError TUNNEL_LOGIN_REFUSED with the server's words, TUNNEL_TIMEOUT, TUNNEL_PROTOCOL, TUNNEL_CLOSED, and
 * what the auth throws
 */
export async function login(stream: ByteStream, runId: string, parts: LoginParts): Promise<LoggedIn> {
  let body: Partial<Login>
  try {
    body = await loginMessage(runId, parts)
  } catch (error) {
    stream.destroy()
    throw error
  }
  return new Promise((resolve, reject) => {
    const { wireProtocol } = parts.config.transport
    const channel = new MessageChannel(stream, wireProtocol)
    const fail = (error: Error): void => {
      timer.cancel()
      channel.onClose = ignore
      channel.destroy()
      reject(error)
    }
    const timer = parts.clock.after(answerMs, () =>
      fail(failure(TunnelErrorCode.timeout, 'the server did not answer the login in time')),
    )
    channel.onClose = (error) =>
      fail(error ?? failure(TunnelErrorCode.closed, 'the server closed the connection within the login'))

    try {
      const keys = wireProtocol === 'v1' ? controlKeysV1(parts) : controlKeysV2(channel, parts)
      channel.onMessage = (message) => {
        if (message.name !== 'LoginResp') {
          fail(failure(TunnelErrorCode.protocol, `the server answered the login with ${message.name}`))
          return
        }
        const loggedIn = accept(message.body, channel, keys)
        if (loggedIn instanceof Error) {
          fail(loggedIn)
          return
        }
        timer.cancel()
        channel.onClose = ignore
        channel.onMessage = ignore
        channel.pause()
        resolve(loggedIn)
      }
      channel.send('Login', body)
      channel.resume()
    } catch (error) {
      fail(error instanceof Error ? error : new Error(String(error)))
    }
  })
}

/** What the two ends agree on besides the login itself. */
interface ControlKeys {
  /** Throws when there was no hello. */
  codec(): ByteCodec
  udpPacketCodec(): UdpPacketCodec
}

function accept(answer: LoginResp, channel: MessageChannel, keys: ControlKeys): LoggedIn | TunnelError {
  if (answer.error !== '') return refused(answer.error)
  if (answer.run_id === '') return failure(TunnelErrorCode.protocol, 'the server gave no run id')
  try {
    channel.secure(keys.codec())
  } catch (error) {
    return failure(TunnelErrorCode.protocol, 'the server sent no hello before its answer', error)
  }
  return {
    channel,
    runId: answer.run_id,
    serverVersion: answer.version,
    halfClose: answer.half_close,
    udpPacketCodec: keys.udpPacketCodec(),
  }
}

function controlKeysV1({ auth, random }: LoginParts): ControlKeys {
  return { codec: () => cfbCodec(cfbKey(auth.token), random(16)), udpPacketCodec: () => 'json' }
}

/** Sends magic and hello, and awaits the server's hello. */
function controlKeysV2(channel: MessageChannel, { config, auth, random }: LoginParts): ControlKeys {
  const { protocol, tls, tcpMux } = config.transport
  const hello: ClientHello = {
    transport: protocol,
    tls: tls.enable || protocol === 'wss',
    tcpMux,
    codecs: ['json'],
    algorithms,
    clientRandom: random(32),
    udpPacketCodecs,
  }
  const clientHello = encodeClientHello(hello)
  let agreed: { readonly codec: ByteCodec; readonly udpPacketCodec: UdpPacketCodec } | undefined
  channel.expectHello('server', (serverHello) => {
    const answer = parseServerHello(serverHello)
    if (answer.error !== '') throw refused(answer.error)
    const algorithm = algorithms.find((known) => known === answer.algorithm)
    if (algorithm === undefined || answer.codec !== 'json' || answer.serverRandom.length !== 32) {
      throw failure(TunnelErrorCode.protocol, 'the hello of the server takes what was not offered')
    }
    agreed = {
      codec: aeadCodec({
        algorithm,
        token: auth.token,
        transcript: transcriptHash(clientHello, serverHello),
        role: 'client',
        nonce: random(aeadNonceBytes(algorithm)),
      }),
      udpPacketCodec: udpPacketCodecs.find((known) => known === answer.udpPacketCodec) ?? 'json',
    }
  })
  channel.sendRaw(Buffer.concat([V2_MAGIC, helloFrame('client', clientHello)]))
  const done = (): NonNullable<typeof agreed> => {
    if (agreed === undefined) throw new Error('no hello')
    return agreed
  }
  return { codec: () => done().codec, udpPacketCodec: () => done().udpPacketCodec }
}

async function loginMessage(runId: string, { config, auth, version }: LoginParts): Promise<Partial<Login>> {
  const proof = await auth.login()
  return {
    version,
    hostname: hostname(),
    ...goPlatform(process.platform, process.arch),
    user: config.user,
    client_id: config.clientID,
    run_id: runId,
    metas: config.metadatas,
    pool_count: config.transport.poolCount,
    half_close: true,
    ...proof,
  }
}

function refused(reason: string): TunnelError {
  return failure(TunnelErrorCode.loginRefused, reason)
}

function failure(code: TunnelErrorCode, message: string, cause?: unknown): TunnelError {
  return new TunnelError(code, message, {
    side: 'origin',
    retryable: true,
    ...(cause !== undefined && { cause }),
  })
}

function ignore(): void {}
