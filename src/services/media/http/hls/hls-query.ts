/** `spbhid` in a query; empty when it is not there. */
export function spbhidOf(query: string): string {
  return /(?:^|&)spbhid=([^&]*)/.exec(query)?.[1] ?? ''
}

/** Whether an `spbhid` came from a manifest of DASH. */
export function isOfDash(query: string): boolean {
  return /(?:^|&)spbdash=1(?:&|$)/.test(query)
}

/** `hls_ctx`, by which SRS knows a viewer; undefined when it is not there. */
export function contextOf(query: string): string | undefined {
  return /(?:^|&)hls_ctx=([^&]+)/.exec(query)?.[1]
}

/**
 * What of a query speaks for a viewer: all that neither we, nor SRS, nor a player put there by itself (low latency, CTA-5004
 * data, what keeps caches away).
 */
export function credentialsOf(query: string): string {
  return parametersOf(query)
    .filter((parameter) => !/^(?:spbhid|spbdash|hls_ctx|_HLS_\w+|CMCD|_)(?:=|$)/.test(parameter))
    .join('&')
}

/** A query without our own parameters. */
export function withoutSpbhid(query: string): string {
  if (!query.includes('spbhid')) return query
  return parametersOf(query)
    .filter((parameter) => !/^spb(?:hid|dash)(?:=|$)/.test(parameter))
    .join('&')
}

/** Whether a low-latency player waits for what is not there yet (RFC 8216bis §6.2.5.2). */
export function isBlockingReload(query: string): boolean {
  return /(?:^|&)_HLS_msn=/.test(query)
}

/** Puts `spbhid` first into the query of a URI, as SRS does; a stream has one for HLS and DASH, which differ at origins. */
export function withSpbhid(uri: string, id: string, isDash: boolean): string {
  const [, path = '', query, fragment = ''] = /^([^?#]*)(?:\?([^#]*))?(#.*)?$/s.exec(uri) ?? []
  const rest = query === undefined || query === '' ? '' : `&${query}`
  return `${path}?spbhid=${id}${isDash ? '&spbdash=1' : ''}${rest}${fragment}`
}

/** Adds the parameters of a query that a URI does not name itself. */
export function withParameters(uri: string, query: string): string {
  const [, path = '', own = '', fragment = ''] = /^([^?#]*)(?:\?([^#]*))?(#.*)?$/s.exec(uri) ?? []
  const present = new Set(parametersOf(own).map(nameOf))
  const parameters = [
    ...parametersOf(own),
    ...parametersOf(query).filter((each) => !present.has(nameOf(each))),
  ]
  return parameters.length === 0 ? uri : `${path}?${parameters.join('&')}${fragment}`
}

function parametersOf(query: string): string[] {
  return query.split('&').filter((parameter) => parameter !== '')
}

function nameOf(parameter: string): string {
  return parameter.split('=', 1)[0] ?? ''
}
