/**
 * Whether a path is one of SRS's HTTP API, which may be at the port of its streams: `/api/v1/clients/x.flv` is answered with
 * all clients, and is nobody's stream.
 */
export function isApiPath(pathname: string): boolean {
  return /^\/+(?:api|rtc)\/+v\d/i.test(decoded(pathname))
}

function decoded(text: string): string {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
