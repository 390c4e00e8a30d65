import { SessionError } from '../media/session-error.ts'

/** `app/stream` of what a person typed: `demo` is `live/demo`. @throws SessionError */
export function streamPath(text: string): string {
  const parts = text.trim().split('/')
  const [app, stream] = parts.length === 1 ? ['live', parts[0]] : parts
  if (!app || !stream || parts.length > 2) {
    throw new SessionError('Give the stream a name, such as "demo" or "live/demo".')
  }
  return `${app}/${stream}`
}
