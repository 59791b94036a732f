// Swagger UI on our own description; a key that is entered stays in this tab's memory.

globalThis.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#documentation",
  deepLinking: true,
  validatorUrl: null,
  persistAuthorization: false,
});
