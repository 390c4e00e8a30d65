/**
 * Profiles of the process in pprof's format, over HTTP at the paths where Go's programs have them. No inspector port is
 * opened.
 */
export type { ProfilingErrorCode } from './errors.ts'
export { profileRoutes } from './profile-routes.ts'
export { Profiler } from './profiler.ts'
