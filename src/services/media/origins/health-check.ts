import { request, type Dispatcher } from 'undici'
import { errorCode } from '../../../foundation/errors.ts'
import type { Dial } from '../../../mechanisms/net/index.ts'
import { originFailed } from './errors.ts'

/** What shows that an origin lives: an HTTP answer, or a TCP connection. */
export type HealthTarget = { readonly url: string } | { readonly host: string; readonly port: number }

/** `http://…`, `https://…` or `tcp://host:port`; undefined when it is neither. */
export function parseHealthTarget(text: string): HealthTarget | undefined {
  if (!URL.canParse(text)) return undefined
  const { protocol, hostname, port, pathname, username, password } = new URL(text)
  if (username !== '' || password !== '') return undefined
  if (protocol === 'http:' || protocol === 'https:') return { url: text }
  if (protocol !== 'tcp:' || hostname === '' || port === '' || pathname !== '') return undefined
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) }
}

/** What checks go through. */
export interface HealthCheckParts {
  readonly dial: Dial
  readonly dispatcher: Dispatcher
}

/** Undefined when the origin is well, else what is wrong. An aborted signal is a failure too. */
export async function failureOf(
  target: HealthTarget,
  parts: HealthCheckParts,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    if ('url' in target) return await failureOfHttp(target.url, parts.dispatcher, signal)
    await connects(target, parts.dial, signal)
    return undefined
  } catch (error) {
    return signal.aborted ? 'ORIGINS_TIMEOUT' : errorCode(error)
  }
}

async function failureOfHttp(
  url: string,
  dispatcher: Dispatcher,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { statusCode, body } = await request(url, { dispatcher, signal })
  // What it says does not matter; a body without end is cut.
  await body.dump({ limit: 65_536, signal })
  return statusCode < 400 || statusCode === 401 ? undefined : `status ${statusCode}`
}

function connects(
  { host, port }: { host: string; port: number },
  dial: Dial,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = dial({ host, port })
    const end = (): void => {
      signal.removeEventListener('abort', abort)
      socket.destroy()
    }
    const abort = (): void => {
      end()
      reject(originFailed('ORIGINS_TIMEOUT', 'no connection in time'))
    }
    signal.addEventListener('abort', abort)
    socket.once('connect', () => {
      end()
      resolve()
    })
    socket.on('error', (error) => {
      end()
      reject(error)
    })
  })
}
