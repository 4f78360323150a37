/** Files imported as text (`with { type: "text" }`), so that they are in the executable. */
declare module "*.css" {
  const text: string
  // biome-ignore lint/style/noDefaultExport: what an import as text gives
  export default text
}
declare module "*/page.js" {
  const text: string
  // biome-ignore lint/style/noDefaultExport: what an import as text gives
  export default text
}
