import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A server of SRS hooks. It says no to whoever has `refuse` in the query. */
export interface HookListener extends AsyncDisposable {
  readonly url: string
  /** Bodies of all calls, the oldest first. */
  readonly calls: readonly Readonly<Record<string, unknown>>[]
}

export async function startHookListener(): Promise<HookListener> {
  const calls: Readonly<Record<string, unknown>>[] = []
  const server = createServer((request, response) => {
    let text = ''
    request.on('data', (bytes: Buffer) => {
      text += bytes.toString()
    })
    request.on('end', () => {
      const call = JSON.parse(text) as Readonly<Record<string, unknown>>
      calls.push(call)
      response.end(String(call['param']).includes('refuse') ? '1' : '0')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`,
    calls,
    [Symbol.asyncDispose]: async () => {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
