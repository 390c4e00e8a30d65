import type { RedisServer } from '../redis-server.ts'
import { BatchClient } from './closed-loop.ts'
import { type Filled, SCRIPTS } from './commands.ts'
import { encodeCommand } from './resp.ts'
import {
  gatewayIdOf,
  hlsTextOf,
  hex,
  keysOfStream,
  memberTextOf,
  rtcTextOf,
  serverKeyOf,
  serverListText,
  serverTextOf,
  sessionKeysOf,
  sessionTextOf,
  streamKeyOf,
  usernameOf,
} from './samples.ts'
import { KEY } from '../../src/mechanisms/balancer/redis/keys.ts'

/** Bytes of Redis' memory for one of each, its key and its part of tables included. */
export interface MemoryCosts {
  readonly origin: number
  /** Its place, a gateway that publishes it and one that plays it. */
  readonly stream: number
  /** Each further gateway that plays it, when a few do, and when 200 do. */
  readonly use: number
  readonly useOfMany: number
  /** The session itself, and its USERNAME under the hash of its token. */
  readonly session: number
  readonly token: number
  /** What the SRS proxy keeps by stream. */
  readonly rtc: number
  readonly hls: number
  readonly gateway: number
}

const BATCH = 1000
/** Some that are played through 200 gateways. */
const POPULAR_STREAMS = 100
const TTL_SECONDS = 86_400

/** Puts a fleet's data into an empty server, kind after kind, and takes what each adds. */
export async function fill(server: RedisServer, filled: Filled): Promise<MemoryCosts> {
  const client = await BatchClient.open(server.port)
  const { origins, streams, sessions, gateways } = filled
  let bytes = await server.usedBytes()
  /** Bytes that the commands added, for each of `count`. */
  const put = async (count: number, all: Iterable<readonly (string | number)[]>): Promise<number> => {
    let batch: Buffer[] = []
    const flush = async (): Promise<void> => {
      if (batch.length > 0) await client.send(Buffer.concat(batch), batch.length)
      batch = []
    }
    for (const parts of all) {
      batch.push(encodeCommand(parts))
      if (batch.length === BATCH) await flush()
    }
    await flush()
    const now = await server.usedBytes()
    const each = (now - bytes) / count
    bytes = now
    return each
  }
  try {
    await put(
      1,
      SCRIPTS.map(({ lua }) => ['SCRIPT', 'LOAD', lua]),
    )
    const origin = await put(
      origins,
      range(origins, (at) => ['SET', serverKeyOf(at), serverTextOf(at, Date.now()), 'EX', TTL_SECONDS]),
    )
    const inList = await put(origins, [['SET', KEY.allServers, serverListText(origins)]])
    const place = await put(
      streams,
      range(streams, (at) => ['SET', keysOfStream(at).url, serverKeyOf(at % origins), 'EX', TTL_SECONDS]),
    )
    const publisher = await put(
      streams,
      range(streams, (at) => ['HSET', keysOfStream(at).publish, gatewayIdOf(0), serverKeyOf(at % origins)]),
    )
    const play = (at: number, gateway: number): readonly string[] => [
      'HSET',
      keysOfStream(at).play,
      gatewayIdOf(gateway),
      serverKeyOf(at % origins),
    ]
    const firstPlayer = await put(
      streams,
      range(streams, (at) => play(at, 1)),
    )
    const ttl = await put(
      streams,
      (function* both() {
        for (let at = 0; at < streams; at++) {
          const { publish, play } = keysOfStream(at)
          for (const key of [publish, play]) yield ['EXPIRE', key, TTL_SECONDS]
        }
      })(),
    )
    const few = 8
    const use = await put(
      streams * few,
      range(streams * few, (at) => play(Math.floor(at / few), 2 + (at % few))),
    )
    const useOfMany = await put(
      POPULAR_STREAMS * 200,
      range(POPULAR_STREAMS * 200, (at) => play(streams + Math.floor(at / 200), at % 200)),
    )
    const session = await put(
      sessions,
      range(sessions, (at) => [
        'SET',
        sessionKeysOf(at, at % streams).ufrag,
        sessionTextOf(at, at % streams, 0),
        'EX',
        TTL_SECONDS,
      ]),
    )
    const token = await put(
      sessions,
      range(sessions, (at) => ['SET', sessionKeysOf(at, 0).token, usernameOf(at), 'EX', TTL_SECONDS]),
    )
    const rtc = await put(
      streams,
      range(streams, (at) => ['SET', sessionKeysOf(at, at).rtc, rtcTextOf(at, at), 'EX', TTL_SECONDS]),
    )
    const hls = await put(
      streams,
      (function* both() {
        for (let at = 0; at < streams; at++) {
          yield ['SET', KEY.hls(streamKeyOf(at)), hlsTextOf(at), 'EX', TTL_SECONDS]
          yield ['SET', KEY.hlsId(hex(at, 7)), hlsTextOf(at), 'EX', TTL_SECONDS]
        }
      })(),
    )
    const gateway = await put(
      gateways,
      range(gateways, (at) => [
        'HSET',
        'sluice-gateways',
        gatewayIdOf(at),
        `${Date.now() + 3_600_000} ${memberTextOf(at)}`,
      ]),
    )
    return {
      origin: origin + inList,
      stream: place + publisher + firstPlayer + ttl,
      use,
      useOfMany,
      session,
      token,
      rtc,
      hls,
      gateway,
    }
  } finally {
    client.close()
  }
}

function* range<T>(count: number, of: (index: number) => T): Generator<T> {
  for (let at = 0; at < count; at++) yield of(at)
}
