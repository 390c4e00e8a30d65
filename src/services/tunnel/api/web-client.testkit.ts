import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { AddressInfo } from 'node:net'

/** What a web server answered. */
export interface WebAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly text: string
  /** Undefined: it is none. */
  readonly json: unknown
}

/** What is sent along. */
export interface WebQuestion {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** PEM of who is trusted; with it TLS is spoken. */
  readonly ca?: string
}

/** Asks a web server on loopback, on a connection of its own. */
export function askWeb(
  to: AddressInfo | undefined,
  path: string,
  { method = 'GET', headers = {}, body, ca }: WebQuestion = {},
): Promise<WebAnswer> {
  if (to === undefined) throw new Error('not listening')
  const options = { host: to.address, port: to.port, path, method, headers, agent: false }
  return new Promise((resolve, reject) => {
    const request = ca === undefined ? requestHttp(options) : requestHttps({ ...options, ca })
    request.on('error', reject)
    request.on('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json: jsonOf(text) })
      })
    })
    request.end(body)
  })
}

/** The header of Basic authentication. */
export function basicAuth(user: string, password: string): Readonly<Record<string, string>> {
  return { Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
