import { getSystemErrorName } from 'node:util'

/** What the addon means by a negative errno, as the error of which Node's own sockets would tell. */
export function systemError(errno: number): Error & { readonly code: string } {
  const code = getSystemErrorName(errno)
  return Object.assign(new Error(`the system says ${code}`), { code })
}
