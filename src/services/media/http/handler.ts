import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'

/** Something that answers requests at some paths of the edge. */
export interface HttpHandler {
  /**
   * Whether the request is this handler's. `pathname` is as it was sent: still percent-encoded, without the query, which
   * comes without its `?`.
   */
  matches(pathname: string, method: string, query: string): boolean
  /**
   * Answers. What it throws is logged by its code and answered by the status of the SluiceError, else by 500. The promise
   * may stay pending while a body is sent.
   */
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>
}

/** Answers with JSON and no more. */
export function replyJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const bytes = Buffer.from(JSON.stringify(body))
  response.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': bytes.length,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...headers,
  })
  response.end(response.req.method === 'HEAD' ? undefined : bytes)
}

/**
 * Answers `{code, message}`: the code of the error and the words of the status, never the error's own text. Says by which
 * scheme to ask again after 401, and when after 429 and 503, unless the handler has said so.
 */
export function replyError(
  response: ServerResponse,
  status: number,
  code: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  const advice = adviceFor(status)
  if (advice !== undefined && !response.hasHeader(advice.name)) response.setHeader(advice.name, advice.value)
  replyJson(response, status, errorBody(status, code), headers)
}

function adviceFor(status: number): { readonly name: string; readonly value: string } | undefined {
  if (status === 401) return { name: 'WWW-Authenticate', value: 'Bearer' }
  return status === 429 || status === 503 ? { name: 'Retry-After', value: RETRY_AFTER_SECONDS } : undefined
}

/** Long enough that clients do not pile up, short beside the time in which an origin comes back. */
const RETRY_AFTER_SECONDS = '5'

export function errorBody(status: number, code: string): { code: string; message: string } {
  return { code, message: STATUS_CODES[status] ?? 'Error' }
}
