import { registrationError } from './errors.ts'

/** The object in a body. An empty body counts as `{}`. @throws REGISTRATION_BAD_BODY */
export function parseJsonObject(body: Uint8Array): object {
  const text = Buffer.from(body.buffer, body.byteOffset, body.length).toString()
  if (text.trim() === '') return {}
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return parsed
  } catch {
    // Told below, without the parser's words, which may repeat the body.
  }
  throw registrationError('REGISTRATION_BAD_BODY', 'the body is no JSON object')
}
