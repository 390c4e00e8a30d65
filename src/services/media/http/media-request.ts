import type { IncomingMessage, ServerResponse } from 'node:http'
import { corsHeaders } from './client-response.ts'

/** The methods by which media is asked for, as `Allow` names them. */
export const MEDIA_METHODS = 'GET, HEAD, OPTIONS'

/** `OPTIONS` goes no further; 200 is what clients of SRS get. */
export function replyPreflight(response: ServerResponse): void {
  response.writeHead(200, {
    ...corsHeaders,
    Allow: MEDIA_METHODS,
    'Access-Control-Max-Age': '7200',
    'Content-Length': '0',
  })
  response.end()
}

/** Whether a request brings a body, which none for media does. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
}

/** Waits for the answers to the requests before, where a client sent several without waiting. */
export function hasTurn(response: ServerResponse, signal: AbortSignal): Promise<void> {
  if (response.socket !== null) return Promise.resolve()
  return new Promise((resolve, reject) => {
    response.once('socket', () => resolve())
    signal.addEventListener('abort', () => reject(new Error('left')), { once: true })
  })
}
