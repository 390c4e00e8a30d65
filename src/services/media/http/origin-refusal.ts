import type { ServerResponse } from 'node:http'
import type { ResponseHead } from '../../../protocols/http/index.ts'
import { corsHeaders } from './client-response.ts'
import { replyError } from './handler.ts'

/** What is passed on of an origin's refusal beside its status; its words may tell of the inside. */
const PASSED = new Set(['retry-after', 'www-authenticate', 'cache-control', 'content-range', 'allow'])

/** Answers with the status of an origin that refused, and our own words. */
export function replyRefusal(response: ServerResponse, { status, headers }: ResponseHead): void {
  const passed = headers.filter(({ name }) => PASSED.has(name.toLowerCase()))
  replyError(response, status, status === 404 ? 'HTTP_NOT_FOUND' : 'HTTP_ORIGIN_REFUSED', {
    ...corsHeaders,
    ...Object.fromEntries(passed.map(({ name, value }) => [name, value])),
  })
}
