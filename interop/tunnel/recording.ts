import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { WireVersion } from '../../src/protocols/frp/index.ts'
import { Conversation, type Side } from './conversation.ts'

/** What the user of a recording does. */
export type Action = 'tcp' | 'layers' | 'http' | 'https' | 'connect' | 'udp' | 'stcp' | 'sudp' | 'close'

/** In the order in which they were recorded. */
export type RecordedEvent =
  /** The user begins with something; it has ended before the next one. */
  | { readonly action: Action }
  /** Bytes of one side, in base64. */
  | { readonly connection: number; readonly from: Side; readonly bytes: string }
  /** One side has ended the connection. */
  | { readonly connection: number; readonly from: Side; readonly end: true }

/** A conversation with a real program of frp 0.70.1, in clear TCP. */
export interface Recording {
  /** Which side was real, and is replayed. */
  readonly real: Side
  readonly wire: WireVersion
  readonly mux: boolean
  readonly events: readonly RecordedEvent[]
}

/** The token of all recordings. */
export const recordedToken = 'a token of the recordings'
/** The secret key of visitors. */
export const recordedKey = 'between us'
/** Names of proxies, which are their types but for `layers` (tcp with encryption and compression) and `extra`, which is closed. */
export const recordedProxies = [
  'tcp',
  'layers',
  'http',
  'https',
  'connect',
  'udp',
  'stcp',
  'sudp',
  'extra',
] as const

export type Recorded = Pick<Recording, 'real' | 'wire' | 'mux'>

/** All that there are. */
export const recordings: readonly Recorded[] = (['client', 'server'] as const).flatMap((real) =>
  (['v1', 'v2'] as const).flatMap((wire) => [true, false].map((mux) => ({ real, wire, mux }))),
)

export function readRecording(which: Recorded): Recording {
  return JSON.parse(readFileSync(fileOf(which), 'utf8')) as Recording
}

export function writeRecording(recording: Recording): void {
  const { events, ...head } = recording
  const lines = events.map((event) => `    ${JSON.stringify(event)}`)
  const text = JSON.stringify({ ...head, events: [] }, null, 2).replace('[]', `[\n${lines.join(',\n')}\n  ]`)
  writeFileSync(fileOf(recording), `${text}\n`)
}

function fileOf({ real, wire, mux }: Recorded): string {
  const program = real === 'client' ? 'frpc' : 'frps'
  return join(import.meta.dirname, 'recordings', `${program}-${wire}${mux ? '-mux' : ''}.json`)
}

/** The conversation up to its end. */
export function conversationOf(recording: Recording): Conversation {
  const conversation = new Conversation({ ...recording, token: recordedToken })
  for (const event of recording.events) hear(conversation, event)
  return conversation
}

/** Where the server has put a proxy that asked for any port. */
export function remotePort(conversation: Conversation, name: string): number {
  const answer = conversation.bodies('NewProxyResp').find(({ proxy_name }) => proxy_name === name)
  return Number(answer?.remote_addr.split(':').at(-1))
}

export function hear(conversation: Conversation, event: RecordedEvent): void {
  if ('bytes' in event) conversation.push(event.connection, event.from, Buffer.from(event.bytes, 'base64'))
}
