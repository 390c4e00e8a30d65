import { TunnelError } from '../errors.ts'

/** What a client is told of an error: the reason, or a summary where the server is not to tell (`detailedErrorsToClient`). */
export function toldError(error: unknown, summary: string, isDetailed: boolean): string {
  return isDetailed && error instanceof TunnelError ? error.message : summary
}
