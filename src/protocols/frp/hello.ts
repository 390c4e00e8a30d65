import { createHash } from 'node:crypto'
import { aeadAlgorithms, type AeadAlgorithm } from './aead-codec.ts'
import { FrpError, FrpErrorCode } from './errors.ts'
import { readStruct, struct, writeStruct } from './go-json.ts'
import type { UdpPacketCodec } from './udp-packet.ts'

/** What a client says first on a v2 control connection: how it has come, and what it knows. */
export interface ClientHello {
  /** As configured: tcp, websocket ... For logs only. */
  readonly transport: string
  readonly tls: boolean
  readonly tcpMux: boolean
  /** Ways to write a message; `json` is the only one. */
  readonly codecs: readonly string[]
  /** Ciphers, the best first. */
  readonly algorithms: readonly string[]
  /** 32 random bytes. */
  readonly clientRandom: Uint8Array
  /** Binary forms of datagrams, since frp 0.71. */
  readonly udpPacketCodecs: readonly string[]
}

/** What a server has chosen, or why it cannot. */
export interface ServerHello {
  readonly codec: string
  readonly algorithm: string
  /** 32 random bytes. */
  readonly serverRandom: Uint8Array
  /** Empty: datagrams are JSON. */
  readonly udpPacketCodec: string
  readonly error: string
}

/** What the hellos of both sides have come to. */
export interface HelloAgreement {
  readonly algorithm: AeadAlgorithm
  readonly udpPacketCodec: UdpPacketCodec
}

/** The choice of a server. */
export interface HelloChoice {
  readonly algorithm: AeadAlgorithm
  readonly hello: ServerHello
}

const randomBytes = 32
const jsonCodec = 'json'
const binaryUdp = 'binary-v1'

/** All that we know, as a client says it. */
export function clientHello(
  bootstrap: Pick<ClientHello, 'transport' | 'tls' | 'tcpMux'>,
  clientRandom: Uint8Array,
): ClientHello {
  const { transport, tls, tcpMux } = bootstrap
  return {
    transport,
    tls,
    tcpMux,
    codecs: [jsonCodec],
    algorithms: aeadAlgorithms,
    clientRandom,
    udpPacketCodecs: [binaryUdp],
  }
}

/** The JSON of a hello: the payload of its frame, and what `transcriptHash` wants. */
export function encodeClientHello(hello: ClientHello): Buffer {
  const { transport, tls, tcpMux, codecs, udpPacketCodecs, algorithms, clientRandom } = hello
  const value = {
    bootstrap: { transport, tls, tcpMux },
    capabilities: { message: { codecs, udpPacketCodecs }, crypto: { algorithms, clientRandom } },
  }
  return Buffer.from(writeStruct(value, clientHelloStruct), 'utf8')
}

/** @throws FrpError FRP_MESSAGE_INVALID; what it says is not checked, see `chooseServerHello` */
export function parseClientHello(payload: Uint8Array): ClientHello {
  // The struct has these fields in these types.
  const { bootstrap, capabilities } = readStruct(payload, clientHelloStruct) as unknown as {
    bootstrap: Pick<ClientHello, 'transport' | 'tls' | 'tcpMux'>
    capabilities: {
      message: Pick<ClientHello, 'codecs' | 'udpPacketCodecs'>
      crypto: Pick<ClientHello, 'algorithms' | 'clientRandom'>
    }
  }
  return { ...bootstrap, ...capabilities.message, ...capabilities.crypto }
}

/**
 * The answer of a server: the first cipher of the client that we know too, and the binary form of datagrams if it is offered.
 *
 * @throws FrpError FRP_HELLO, in frp's words; the client is to be told them, see `refusalHello`
 */
export function chooseServerHello(hello: ClientHello, serverRandom: Uint8Array): HelloChoice {
  if (!hello.codecs.includes(jsonCodec)) throw helloError('unsupported message codec')
  if (hello.clientRandom.length !== randomBytes) {
    throw helloError(`invalid crypto client random length ${hello.clientRandom.length}, want ${randomBytes}`)
  }
  const algorithm = hello.algorithms.find(isAeadAlgorithm)
  if (algorithm === undefined) throw helloError('no supported crypto algorithm')
  const udpPacketCodec = hello.udpPacketCodecs.includes(binaryUdp) ? binaryUdp : ''
  return { algorithm, hello: { codec: jsonCodec, algorithm, serverRandom, udpPacketCodec, error: '' } }
}

/** The answer to a client with whom there is nothing in common. */
export function refusalHello(error: string): ServerHello {
  return { codec: jsonCodec, algorithm: '', serverRandom: Buffer.alloc(0), udpPacketCodec: '', error }
}

/** The JSON of a hello: the payload of its frame, and what `transcriptHash` wants. */
export function encodeServerHello(hello: ServerHello): Buffer {
  const { codec, udpPacketCodec, algorithm, serverRandom, error } = hello
  const selected = { message: { codec, udpPacketCodec }, crypto: { algorithm, serverRandom } }
  return Buffer.from(writeStruct({ selected, error }, serverHelloStruct), 'utf8')
}

/** @throws FrpError FRP_MESSAGE_INVALID; what it says is not checked, see `acceptServerHello` */
export function parseServerHello(payload: Uint8Array): ServerHello {
  // The struct has these fields in these types.
  const { selected, error } = readStruct(payload, serverHelloStruct) as unknown as {
    selected: {
      message: Pick<ServerHello, 'codec' | 'udpPacketCodec'>
      crypto: Pick<ServerHello, 'algorithm' | 'serverRandom'>
    }
    error: string
  }
  return { ...selected.message, ...selected.crypto, error }
}

/**
 * What follows from a server's answer, at the client.
 *
 * @throws FrpError FRP_HELLO when the server refused, or chose what was not offered
 */
export function acceptServerHello(own: ClientHello, answer: ServerHello): HelloAgreement {
  const { algorithm, udpPacketCodec, serverRandom } = answer
  if (answer.error !== '') throw helloError(answer.error, 'origin')
  if (answer.codec !== jsonCodec)
    throw helloError(`unsupported selected message codec: ${answer.codec}`, 'origin')
  if (!isAeadAlgorithm(algorithm))
    throw helloError(`unknown selected crypto algorithm: ${algorithm}`, 'origin')
  if (!own.algorithms.includes(algorithm)) {
    throw helloError(`selected crypto algorithm was not advertised by client: ${algorithm}`, 'origin')
  }
  if (udpPacketCodec !== '' && (udpPacketCodec !== binaryUdp || !own.udpPacketCodecs.includes(binaryUdp))) {
    throw helloError(`unsupported selected UDP packet codec: ${udpPacketCodec}`, 'origin')
  }
  if (serverRandom.length !== randomBytes) {
    throw helloError(
      `invalid crypto server random length ${serverRandom.length}, want ${randomBytes}`,
      'origin',
    )
  }
  return { algorithm, udpPacketCodec: udpPacketCodec === binaryUdp ? binaryUdp : 'json' }
}

/** The hash of both hellos, as their JSON was sent; what was changed on the way makes other keys. */
export function transcriptHash(clientPayload: Uint8Array, serverPayload: Uint8Array): Buffer {
  const hash = createHash('sha256').update('frp wire v2 crypto transcript')
  for (const [label, payload] of [
    ['client hello', clientPayload],
    ['server hello', serverPayload],
  ] as const) {
    const length = Buffer.alloc(8)
    length.writeUInt32BE(payload.length, 4)
    hash.update(`\0${label}\0`).update(length).update(payload)
  }
  return hash.digest()
}

const clientHelloStruct = struct({
  bootstrap: struct({ transport: 'string', tls: 'boolean', tcpMux: 'boolean' }),
  capabilities: struct({
    message: struct({ codecs: 'strings', udpPacketCodecs: 'strings' }),
    crypto: struct({ algorithms: 'strings', clientRandom: 'bytes' }),
  }),
})

const serverHelloStruct = struct({
  selected: struct({
    message: struct({ codec: 'string', udpPacketCodec: 'string' }),
    crypto: struct({ algorithm: 'string', serverRandom: 'bytes' }),
  }),
  error: 'string',
})

function isAeadAlgorithm(name: string): name is AeadAlgorithm {
  return aeadAlgorithms.some((known) => known === name)
}

function helloError(message: string, side: 'client' | 'origin' = 'client'): FrpError {
  return new FrpError(FrpErrorCode.hello, message, { side })
}
