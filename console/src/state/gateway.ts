import { signal } from '@preact/signals'
import type { Signal } from '@preact/signals'

/** One line of `GET /api/v1/streams`. */
export interface LiveStream {
  readonly key: string
  readonly app: string
  readonly stream: string
  readonly publishers: number
  readonly players: number
}

/** `GET /api/v1/demo`: where the gateway's other ports are. */
interface DemoInfo {
  readonly rtmpPort: number
  readonly httpPort: number
}

const POLL_INTERVAL_MS = 1_500

export const streams: Signal<readonly LiveStream[]> = signal([])
export const isReachable: Signal<boolean | undefined> = signal(undefined)
export const demoInfo: Signal<DemoInfo> = signal({
  rtmpPort: 1935,
  httpPort: Number(location.port) || (location.protocol === 'https:' ? 443 : 80),
})

/** Asks the gateway for its ports once, and for its streams again and again. Gives the way to stop. */
export function followGateway(): () => void {
  const stop = new AbortController()
  void readJson<DemoInfo>('/api/v1/demo', stop.signal).then((info) => {
    if (info !== undefined) demoInfo.value = info
  })
  const poll = async (): Promise<void> => {
    const list = await readJson<LiveStream[]>('/api/v1/streams', stop.signal)
    if (stop.signal.aborted) return
    isReachable.value = list !== undefined
    // The gateway remembers for a while where a stream was, too.
    streams.value = (list ?? []).filter(({ publishers }) => publishers > 0)
    setTimeout(() => void poll(), POLL_INTERVAL_MS)
  }
  void poll()
  return () => stop.abort()
}

async function readJson<T>(path: string, signal: AbortSignal): Promise<T | undefined> {
  try {
    const response = await fetch(path, { signal, cache: 'no-store' })
    return response.ok ? ((await response.json()) as T) : undefined
  } catch {
    return undefined
  }
}
