import type { StreamKey } from './stream-key.ts'

/** A stream key, taken apart. */
export interface StreamKeyParts {
  readonly vhost: string
  /** May hold slashes; empty where a key of the SRS proxy has none. */
  readonly app: string
  /** Empty where a key of the SRS proxy ends in a slash, or has no path at all. */
  readonly stream: string
}

/** The vhost is what stands before the first slash, the stream what stands behind the last. */
export function streamKeyParts(key: StreamKey): StreamKeyParts {
  const first = key.indexOf('/')
  if (first === -1) return { vhost: key, app: '', stream: '' }
  const last = key.lastIndexOf('/')
  const app = first === last ? '' : key.slice(first + 1, last)
  return { vhost: key.slice(0, first), app: app.replace(/^\/+|\/+$/g, ''), stream: key.slice(last + 1) }
}

/** Part of a URL's path: slashes stay, everything that means something in a URL is escaped. */
export function percentEncodePart(text: string): string {
  return encodeURIComponent(text).replaceAll('%2F', '/').replaceAll('%40', '@').replaceAll('%3A', ':')
}
