/** What went wrong, where something did. */
export function Message({ text, isError }: { readonly text: string; readonly isError: boolean }) {
  if (text === '') return null
  return (
    <p class={`message ${isError ? 'error' : ''}`} role={isError ? 'alert' : 'status'}>
      {text}
    </p>
  )
}
