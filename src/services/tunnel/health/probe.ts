import { connect } from 'node:net'

/** frp follows as many. */
const MAX_REDIRECTS = 10

/** Whether something accepts connections there. @throws the socket's error, or the signal's reason */
export function probeTcp(
  { host, port }: { readonly host: string; readonly port: number },
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port })
    const settle = (error?: Error): void => {
      signal.removeEventListener('abort', abort)
      if (error === undefined) resolve()
      else reject(error)
    }
    const abort = (): void => {
      socket.destroy()
      settle(signal.reason instanceof Error ? signal.reason : new Error('stopped'))
    }
    socket.on('error', settle)
    socket.once('connect', () => {
      settle()
      // Ended, not reset, which the service might log as a failure.
      socket.end().resume()
      socket.setTimeout(CLOSE_MS, () => socket.destroy())
    })
    signal.addEventListener('abort', abort)
  })
}

/** A service that does not close the probe's connection gets it closed after this time without bytes. */
const CLOSE_MS = 5000

/** What is asked for, and how. */
export interface HttpProbe {
  readonly host: string
  readonly port: number
  readonly path: string
  /** `Host` among them says which host is asked for. Of equal names the last one counts. */
  readonly headers: readonly { readonly name: string; readonly value: string }[]
}

/** Whether GET brings a whole answer with a status of 200 to 299, after redirects. @throws why not */
export async function probeHttp(
  { host, port, path, headers }: HttpProbe,
  signal: AbortSignal,
): Promise<void> {
  const fields = new Headers()
  for (const { name, value } of headers) fields.set(name, value)
  const authority = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
  // A client without such checks does without the library's twenty megabytes.
  const { Agent, interceptors, request } = await import('undici')
  // One connection for one check: a kept one could hide that the service takes no new ones.
  const agent = new Agent({ connections: 1, pipelining: 0 })
  try {
    const { statusCode, body } = await request(
      `http://${authority}${path.startsWith('/') ? '' : '/'}${path}`,
      {
        dispatcher: agent.compose(interceptors.redirect({ maxRedirections: MAX_REDIRECTS })),
        headers: Object.fromEntries(fields),
        signal,
      },
    )
    for await (const _ of body) {
      // Read to its end, and dropped.
    }
    if (statusCode < 200 || statusCode > 299) throw new Error(`status ${statusCode}`)
  } finally {
    await agent.destroy()
  }
}
