/** The name of a proxy in messages: behind its user's, where there is one. */
export function wireName(user: string, name: string): string {
  return user === '' ? name : `${user}.${name}`
}

/** The name in the configuration of what a server calls so. */
export function ownName(user: string, name: string): string {
  return user !== '' && name.startsWith(`${user}.`) ? name.slice(user.length + 1) : name
}
