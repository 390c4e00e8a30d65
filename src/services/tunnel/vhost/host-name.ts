/**
 * The name that routes are looked up by, out of a Host header or the authority of a request: lower case, without port and
 * trailing dot. An IPv6 address loses its brackets only together with a port, as frp has it.
 */
export function hostName(authority: string): string {
  let name = authority.toLowerCase()
  const colon = name.indexOf(':')
  if (colon !== -1) {
    if (colon === name.lastIndexOf(':')) name = name.slice(0, colon)
    else if (name.startsWith('[') && name.includes(']:')) name = name.slice(1, name.indexOf(']:'))
  }
  return name.endsWith('.') ? name.slice(0, -1) : name
}
