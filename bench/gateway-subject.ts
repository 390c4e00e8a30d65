import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Child } from './child.ts'
import { freePorts } from './free-ports.ts'
import { RedisServer } from './redis-server.ts'
import {
  type RedisReader,
  type RedisUse,
  startDeadlineMs,
  type Subject,
  type SubjectKind,
} from './subject.ts'

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))

interface Ports {
  readonly http: number
  readonly rtmp: number
  readonly webrtc: number
  readonly srt: number
  readonly registration: number
  readonly admin: number
}

type Engine = 'auto' | 'native' | 'node'

/** Where the load meets the gateway. */
type Scheme = 'http' | 'rtmp' | 'srt'

/** The whole gateway, as `npm run build` left it in `dist`. */
export function gateway(name: string, scheme: Scheme, engine: Engine): SubjectKind {
  return { name, start: () => startGateway(scheme, engine) }
}

/** The same with a Redis of its own, as one of many gateways. */
export function gatewayWithRedis(name: string, scheme: Scheme, engine: Engine): SubjectKind {
  return {
    name,
    start: async () => {
      const redis = await RedisServer.start()
      try {
        return await startGateway(scheme, engine, redis)
      } catch (error) {
        await redis.stop()
        throw error
      }
    },
  }
}

/** The same on each engine, where datagrams make the difference. */
export function gatewayPerEngine(scheme: Scheme): readonly SubjectKind[] {
  return (['native', 'node'] as const).map((engine) => gateway(`gateway ${engine}`, scheme, engine))
}

async function startGateway(scheme: Scheme, engine: Engine, redis?: RedisServer): Promise<Subject> {
  const [http = 0, rtmp = 0, webrtc = 0, srt = 0, registration = 0, admin = 0] = await freePorts(6)
  const ports = { http, rtmp, webrtc, srt, registration, admin }
  const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  const config = join(directory, 'sluice.toml')
  writeFileSync(config, configuration(ports, engine, redis?.url))
  const child = new Child(process.execPath, [main, 'run', '-c', config])
  const close = async (): Promise<void> => {
    await child.stop()
    await redis?.stop()
    rmSync(directory, { recursive: true })
  }
  try {
    await untilReady(child, `http://127.0.0.1:${admin}/healthz`)
  } catch (error) {
    await close()
    throw error
  }
  const address = `127.0.0.1:${ports[scheme]}`
  return {
    children: [child],
    ...(redis && { redis: readerOf(redis, `http://127.0.0.1:${admin}/metrics`) }),
    loadOptions: [
      '--gateway',
      scheme === 'http' ? `http://${address}` : address,
      '--register',
      `http://127.0.0.1:${registration}`,
    ],
    close,
  }
}

/** Sessions wait for their turn without traffic, so they may be idle for long. */
function configuration(ports: Ports, engine: Engine, redisUrl: string | undefined): string {
  return `log.level = "warn"
registration.listen = "127.0.0.1:${ports.registration}"
admin.listen = "127.0.0.1:${ports.admin}"
datapath.engine = "${engine}"
[media]
http = { listen = ["127.0.0.1:${ports.http}"] }
rtmp = { listen = ["127.0.0.1:${ports.rtmp}"], idleSeconds = 3600 }
webrtc = { listen = "127.0.0.1:${ports.webrtc}", idleSeconds = 3600 }
srt = { listen = ["127.0.0.1:${ports.srt}"], idleSeconds = 3600 }
${redisUrl === undefined ? '' : `[redis]\nurl = "${redisUrl}"\n[fleet]\nsecret = "a secret of the bench"\n`}`
}

/** The gateway counts what it sends; its Redis what it runs. */
function readerOf(redis: RedisServer, metricsUrl: string): RedisReader {
  return {
    read: async () => {
      const metrics = await (await fetch(metricsUrl)).text()
      const sent = [...metrics.matchAll(/^sluice_redis_commands_total\{[^}]*\} (\S+)$/gm)]
      return {
        commands: sent.reduce((total, [, count]) => total + Number(count), 0),
        ...(await redisUse(redis)),
      }
    },
  }
}

/** What a Redis has done, but for the questions of the bench. */
export async function redisUse(redis: RedisServer): Promise<RedisUse> {
  const calls = [...(await redis.calls())].filter(([command]) => command !== 'info')
  return { calls: calls.reduce((total, [, count]) => total + count, 0), cpuSeconds: redis.cpuSeconds() }
}

async function untilReady(child: Child, url: string): Promise<void> {
  const deadline = performance.now() + startDeadlineMs
  while (performance.now() < deadline && child.isRunning) {
    const response = await fetch(url).catch(() => undefined)
    if (response?.ok === true) return
    await sleep(50)
  }
  throw child.failure('the gateway does not start (was it built, with npm run build?)')
}
