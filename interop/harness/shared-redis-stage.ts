import { join } from 'node:path'
import { expect } from 'vitest'
import type { RedisOptions } from '../../src/mechanisms/redis/index.ts'
import { openStore } from '../redis/store-fleet.ts'
import { openBlankPage, startBrowser } from './browser.ts'
import { startDemoOrigin } from './demo-origin.ts'
import { makeSample } from './ffmpeg.ts'
import { GatewayFleet, readinessOf } from './fleet.ts'
import type { Gateway } from './gateway.ts'
import { total } from './metrics.ts'
import { playPicture, publishPicture } from './one-picture.ts'
import { PersistentViewer } from './persistent-viewer.ts'
import { RUNNING, RunningMedia } from './running-media.ts'
import { temporaryFolder } from './temporary-folder.ts'
import { until } from './until.ts'
import { playByWhep, receivedBy } from './webrtc-page.ts'

/** What happens to Redis. */
export interface Mishap {
  readonly begin: () => Promise<unknown>
  /** Absent: it is over at once. */
  readonly end?: () => Promise<unknown>
  /** How much media runs meanwhile, in seconds. @defaultValue 6 */
  readonly seconds?: number
}

/** Longest time without media. Most of it is for machines on which a process waits long for its turn. */
const GAP_MS = 3000
/** For what a slow machine may be slow at. */
const deadline = { deadlineMs: 40_000 }

/** Three gateways on one Redis, under running media. */
export class SharedRedisStage implements AsyncDisposable {
  readonly #redis: Partial<RedisOptions>
  readonly #opened: AsyncDisposable[] = []
  readonly #openPage: () => ReturnType<typeof openBlankPage>
  readonly fleet: GatewayFleet
  readonly #media: RunningMedia
  #round = 0

  private constructor(
    redis: Partial<RedisOptions>,
    opened: AsyncDisposable[],
    parts: Pick<SharedRedisStage, 'fleet'> & {
      readonly media: RunningMedia
      readonly openPage: () => ReturnType<typeof openBlankPage>
    },
  ) {
    this.#redis = redis
    this.#opened = opened
    this.fleet = parts.fleet
    this.#media = parts.media
    this.#openPage = parts.openPage
  }

  /** @param redis Where it is, as `[redis]` has it. */
  static async start(redis: Partial<RedisOptions>): Promise<SharedRedisStage> {
    const opened: AsyncDisposable[] = []
    const opens = <T extends AsyncDisposable>(thing: T): T => {
      opened.push(thing)
      return thing
    }
    try {
      const folder = temporaryFolder()
      opened.push({ [Symbol.asyncDispose]: async () => folder[Symbol.dispose]() })
      const sample = join(folder.path, 'sample.flv')
      await makeSample(sample, 120)
      const browser = await startBrowser()
      opened.push({ [Symbol.asyncDispose]: () => browser.close() })
      const fleet = opens(await GatewayFleet.start({ redis }))
      opens(await startDemoOrigin(fleet.registrationUrl))
      await fleet.untilReady()
      const media = opens(await RunningMedia.start(fleet, browser, sample))
      return new SharedRedisStage(redis, opened, { fleet, media, openPage: () => openBlankPage(browser) })
    } catch (error) {
      await closeAll(opened)
      throw error
    }
  }

  /**
   * Lets it happen, and expects that nobody notices: what runs runs on, what is known plays, what is new goes where a
   * gateway leads it by itself; readiness says so, and afterwards all of it is in Redis again.
   */
  async expectUnnoticed({ begin, end, seconds = 6 }: Mishap): Promise<void> {
    const [first, second, third] = this.fleet.gateways
    if (first === undefined || second === undefined || third === undefined)
      throw new Error('no three gateways')
    const fresh = `new-${this.#round++}`
    this.#media.mark()
    await begin()
    if (end !== undefined) await this.#untilDegraded(true)

    await Promise.all(this.fleet.gateways.map(({ url }) => playsByFlv(url)))
    this.#opened.push(await publishPicture(third.ports.rtmp, fresh))
    expect(await playPicture(`${third.url}/live/${fresh}.flv`)).toBe(fresh)
    await this.#playsByWhep(second.url)
    await this.#media.untilMore(seconds)

    await end?.()
    await this.#untilDegraded(false)
    await this.#untilSaidAgain(fresh)
    expect(await playPicture(`${first.url}/live/${fresh}.flv`)).toBe(fresh)
    await this.#media.untilMore(1)
    expect(await this.#media.faults(GAP_MS)).toEqual([])
    for (const gateway of this.fleet.gateways) {
      expect(total(await gateway.metrics(), 'sluice_redis_up')).toBe(1)
      expect(repeatedLines(gateway)).toEqual([])
      if (end !== undefined) expect(gateway.program.output).toMatch(/"level":"warn".*"Redis is away/)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closeAll(this.#opened)
  }

  /** Gateways stay in rotation all the time. */
  async #untilDegraded(isDegraded: boolean): Promise<void> {
    const statuses = new Set<number>()
    await until(
      `readiness that is ${isDegraded ? '' : 'not '}degraded`,
      async () => {
        const all = await Promise.all(this.fleet.gateways.map((gateway) => readinessOf(gateway)))
        for (const { status } of all) statuses.add(status)
        return all.every(({ degraded }) => degraded === isDegraded)
      },
      deadline,
    )
    expect([...statuses]).toEqual([200])
  }

  /** At the gateway to which the balancer leads media. */
  async #playsByWhep(url: string): Promise<void> {
    await using player = await this.#openPage()
    expect((await playByWhep(player.page, `${url}/${RUNNING.face}/whep`)).status).toBe(201)
    await until('pictures', async () => (await receivedBy(player.page)).framesDecoded > 5, deadline)
  }

  /** Until a gateway that comes newly would know all, from Redis alone. */
  async #untilSaidAgain(fresh: string): Promise<void> {
    const usernames = await this.#media.usernames()
    await using late = await openStore('late', { redis: this.#redis })
    await until(
      'everything in Redis',
      async () => {
        const streams = await late.store.streams()
        const gatewaysOf = (name: string): number | undefined =>
          streams.find(({ key }) => key === `__defaultVhost__/${name}`)?.gateways?.length
        const sessions = await Promise.all(usernames.map((username) => late.store.findSession(username)))
        return (
          late.fleet.members().length === this.fleet.gateways.length + 1 &&
          gatewaysOf(RUNNING.live) === this.fleet.gateways.length &&
          gatewaysOf(RUNNING.face) === 1 &&
          gatewaysOf(`live/${fresh}`) === 1 &&
          sessions.every((session) => session?.icePassword !== undefined && session.isServed)
        )
      },
      deadline,
    )
  }
}

async function closeAll(opened: AsyncDisposable[]): Promise<void> {
  for (const thing of opened.splice(0).toReversed()) await thing[Symbol.asyncDispose]()
}

async function playsByFlv(url: string): Promise<void> {
  await using viewer = new PersistentViewer(`${url}/${RUNNING.live}.flv`)
  await until('tags of a stream that is known', () => viewer.tags > 20, deadline)
}

/** Warnings and errors that a gateway has logged more often than once in a minute. */
function repeatedLines(gateway: Gateway): readonly string[] {
  const times = new Map<string, number[]>()
  for (const line of gateway.program.output.split('\n')) {
    if (!/"level":"(warn|error)"/.test(line)) continue
    const { time = '', component, msg, code } = JSON.parse(line) as Record<string, string>
    const cause = `${component} ${msg} ${code}`
    times.set(cause, [...(times.get(cause) ?? []), Date.parse(time)])
  }
  return [...times].flatMap(([cause, all]) =>
    all.some((atMs, index) => index > 0 && atMs - (all[index - 1] ?? 0) < 59_000) ? [cause] : [],
  )
}
