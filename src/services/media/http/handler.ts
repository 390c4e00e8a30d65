import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'

/** Something that answers requests at some paths of the edge. */
export interface HttpHandler {
  /** Whether the request is this handler's. `pathname` is as it was sent: still percent-encoded, without the query. */
  matches(pathname: string, method: string): boolean
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

/** Answers `{code, message}`: the code of the error and the words of the status, never the error's own text. */
export function replyError(
  response: ServerResponse,
  status: number,
  code: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  replyJson(response, status, errorBody(status, code), headers)
}

export function errorBody(status: number, code: string): { code: string; message: string } {
  return { code, message: STATUS_CODES[status] ?? 'Error' }
}
